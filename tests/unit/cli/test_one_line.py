"""A name that somebody chose in a bucket says nothing of its own where a command prints it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from mlratchet.flows.cli import app as cli
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.errors import SecurityError

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
