"""What a run says at its end: every gate with its checks, where to look, and the outcome."""

from __future__ import annotations

from mlratchet.flows.cli.runs import report_lines

CHECK = {
    "verdict": "pass", "check": "non_inferiority", "metric": "accuracy", "value": "0.0100",
    "interval": "-0.0050 to 0.0250", "n": "300", "threshold": "above -0.02 against the champion",
}  # fmt: skip


def test_checks_stand_in_columns_under_their_gate() -> None:
    bare = CHECK | {"check": "parity", "metric": "", "interval": "none", "verdict": "inconclusive"}
    lines = report_lines(
        {
            "gates": [{"gate": "champion", "verdict": "fail", "decision": "d" * 64, "checks": [CHECK, bare]}],
            "prefect_url": "http://p/runs/1",
            "run_id": "r1",
            "line": "the end",
        }
    )
    assert lines == [
        f"  champion gate: fail (decision {'d' * 12})",
        "    pass          non_inferiority  accuracy  0.0100  -0.0050 to 0.0250  above -0.02 against the champion",
        "    inconclusive  parity                     0.0100                     above -0.02 against the champion",
        "  Prefect  http://p/runs/1  (`ratchet open prefect --run r1`)",
        "the end",
    ]
    assert report_lines({"line": "nothing to do"}) == ["nothing to do"]
