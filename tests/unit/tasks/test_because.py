"""Why monitoring asked for a run stands in its decisions, its version, its report, and the ledger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from mlratchet.flows.runs.report import Report
from mlratchet.models.decisions.decision import build_decision, explain
from mlratchet.models.gates.result import GateResult
from mlratchet.tasks.support.because import because, because_tags, reason_of

from tests.unit.monitoring.findings import finding

RESULT = GateResult(gate="champion", verdict="pass", checks=())
FACTS: dict[str, Any] = {
    "version": 4, "work_key": "w", "champion_version": 3, "digests": {}, "actor": "monitoring", "now_s": 1.0,
    "run_id": "r",
}  # fmt: skip


def test_a_decision_says_it_and_names_the_finding() -> None:
    made = build_decision("digits", "champion", RESULT, **FACTS, reason=reason_of(finding()), finding=finding().id)
    assert made["finding"] == finding().id
    assert "monitoring: because accuracy on eu fell below 0.90, window 1970-01-01T01:00:00Z" in explain(made)


def test_a_run_that_nobody_but_a_person_asked_for_says_nothing() -> None:
    made = build_decision("digits", "champion", RESULT, **FACTS)
    assert not {"finding", "reason"} & set(made)
    run: Any = SimpleNamespace(because=None)
    assert (because(run), because_tags(run)) == ([], {})


def test_a_version_and_its_training_carry_words_and_digest_in_mlflow() -> None:
    run: Any = SimpleNamespace(because=finding())
    assert because_tags(run) == {"ratchet.because": finding().reason, "ratchet.finding": finding().id}
    assert because(run)[0].endswith(f"(finding {finding().id[:12]})")


def test_a_report_says_it_also_of_a_run_that_had_nothing_to_do() -> None:
    report = Report(run_id="r", pipeline="digits")
    report.because(finding())
    report.answered("finding f was answered by run r0")
    assert report.facts["because"] == finding().reason
    assert (report.facts["outcome"], report.facts["exit_code"]) == ("unchanged", 0)
    assert report.facts["line"] == "nothing to do: finding f was answered by run r0"
