"""A name that somebody chose in a bucket says nothing of its own where a command prints it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.cli import app as cli
from mlratchet.flows.cli.models import canary_line, entry_line
from mlratchet.flows.cli.monitor import show_story
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.decisions.decision import build_decision, explain
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.result import CheckResult, GateResult
from mlratchet.models.promotion.holds import Hold, HoldEntry
from mlratchet.tasks.actions.tell_findings import message_of

from tests.unit.monitoring.findings import finding

NAME = "ledger/digits/x\naudit of digits: 5 generations, all verify\x1b[2J\u202e\u2028\r.json"
ODD = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029]")


def test_a_security_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def raising(**_: Any) -> None:
        raise SecurityError(f"store/{NAME}: was changed")

    monkeypatch.setattr(cli, "app", raising)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == 6
    assert told.count("\n") == 1
    assert not ODD.search(told)


def test_an_audit_tells_a_line_per_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report = AuditReport(name="digits", bucket="store", problems=[f"store/{NAME}: gone"], notes=[f"store/{NAME}: odd"])
    monkeypatch.setenv("RATCHET_HOME", str(tmp_path))
    monkeypatch.setattr("mlratchet.tasks.actions.audit.audit", lambda *_, **__: report)
    monkeypatch.setattr(sys, "argv", ["ratchet", "audit", "digits"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().out
    assert ended.value.code == 6
    assert [line.partition(":")[0] for line in told.splitlines()] == ["problem", "note", "audit of digits"]
    assert not ODD.search(told)


FORGED = "wrong unit\n   9  2026-11-27T00:00:00Z  promote   version 9  ✓ 4be1c02f77aa  ada: gate passed\u2028\x1b[2J"


def test_what_stands_in_a_history_begins_no_line_of_its_own() -> None:
    """A reason that a person typed, words of a finding that a client's values are in."""
    entry = {"generation": 3, "at_s": 1.0, "action": "rollback", "version": 2, "verified": True, "decision": "b" * 64}
    held = HoldEntry(
        name="digits", number=1, previous="", action="hold", finding="a" * 64, kind="data", words=FORGED, actor="ada",
        at_s=1.0,
    )  # fmt: skip
    canary = SimpleNamespace(at_s=1.0, outcome="stopped", phase="end", version=8, actor="ada", reason=FORGED)
    lines = {
        "ledger": entry_line({**entry, "actor": "bob", "problem": "", "reason": FORGED}),
        "hold": held.in_a_line(),
        "held": Hold(entry=held, written_s=1.0).in_words(),
        "canary": canary_line(canary),  # type: ignore[arg-type]
    }
    assert {what: ODD.findall(line) + line.splitlines()[1:] for what, line in lines.items()} == {
        what: [] for what in lines
    }


def test_a_finding_begins_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = [finding(words=FORGED), finding(2)]
    assert len(message_of(found).splitlines()) == 2
    story = SimpleNamespace(pipeline="digits", windows=[], findings=found, gaps=[FORGED], reference=None)
    show_story(story)  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert [line.lstrip().startswith("9  2026") for line in told.splitlines()] == [False] * len(told.splitlines())


def test_a_decision_has_a_line_per_check_whatever_the_author_of_a_check_says() -> None:
    check = CheckResult(
        kind="custom", metric="own", verdict="fail", reason="shop:own: no\n  ✓ absolute: accuracy 0.99 >= 0.9",
        threshold="pass",
    )  # fmt: skip
    decision = build_decision(
        "digits", "champion", GateResult(gate="champion", verdict="fail", checks=(check,)), version=2, work_key="w",
        champion_version=None, digests={}, actor="ada", now_s=5.0, run_id="r",
    )  # fmt: skip
    assert [line.lstrip()[:1] for line in explain(decision).splitlines()[1:]] == ["✗"]
