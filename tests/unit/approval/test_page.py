"""Whoever watches a run that waits can copy the command that answers it."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows import approval_pause
from mlratchet.models.decisions.approval_page import commands, hint
from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.models.gates.policy import GatePolicy

POLICY = GatePolicy.model_validate(
    {
        "data": [{"kind": "data", "measure": "rows", "minimum": 1}],
        "candidate": [{"kind": "absolute", "metric": "accuracy", "minimum": 0.5}],
        "staging": [{"kind": "parity", "maximum_difference": 0.1}],
        "champion": [{"kind": "approval", "approvers": ["alice b", "bob"], "wait_hours": 1}],
    }
)


@pytest.fixture
def request_of_7() -> ApprovalRequest:
    subject = {
        "pipeline": "digits", "gate": "champion", "version": 7, "work_key": "w", "manifest": "m",
        "policy": POLICY.digest(), "dataset": "d", "champion_version": 3,
    }  # fmt: skip
    return ApprovalRequest.model_validate(
        {
            "subject": subject, "policy": POLICY.model_dump(mode="json", exclude={"policy"}), "decision": "d",
            "asked_by": "ada", "run_id": "r", "at_s": 1.0,
        }
    )  # fmt: skip


def test_the_command_names_version_and_approver_as_a_shell_takes_them(request_of_7: ApprovalRequest) -> None:
    command = "ratchet approve digits 7 --as 'alice b' --reason \"...\""
    assert commands(request_of_7) == [command, f"{command} --reject"]
    assert f"1 of alice b, bob, signed with their own key. `{command}`, or Resume on http://u" in hint(
        request_of_7, "http://u"
    )


def test_a_run_that_waits_says_in_its_log_how_to_answer(
    request_of_7: ApprovalRequest, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(approval_pause, "get_run_logger", lambda: logging.getLogger("run"))
    monkeypatch.setattr(approval_pause, "standings", lambda _adapters, _request: (SimpleNamespace(verdict="pass"),))
    monkeypatch.setattr(approval_pause, "metric_rows", lambda _run, _evidence: [])
    adapters = SimpleNamespace(settings=SimpleNamespace(prefect_api_url="http://p/api"))
    run: Any = SimpleNamespace(adapters=adapters, run_id="0-1", waited=None)
    with caplog.at_level(logging.INFO):
        assert approval_pause.wait_for_people(run, request_of_7, evidence=None)  # type: ignore[arg-type]
    (line,) = [record.message for record in caplog.records if record.name == "run"]
    assert line == hint(request_of_7, "http://p/runs/flow-run/0-1")
