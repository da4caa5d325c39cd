"""A worker that runs sees a schedule start a run by itself, and what monitoring found start another."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from mlratchet.flows.runs.start import read_report
from mlratchet.models.monitoring.finding import Finding, WindowSpan, publish_finding
from mlratchet.models.monitoring.retraining import runs_of
from mlratchet.tasks.actions import start_retrains
from mlratchet.tasks.actions.answer_findings import want_retrain
from mlratchet.tasks.actions.start_retrains import follow_requests
from prefect.client.schemas.objects import FlowRun

from tests.conftest import wait_for
from tests.e2e.conftest import DeploymentRuns

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_a_schedule_of_every_minute_starts_a_run(stack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_retrains, "get_client", lambda **_: stack.prefect())
    name = stack.pipeline(
        "every-minute", 'workload:\n -> schedule:\n  cron: "* * * * *"\nworkload:\n',
        "epochs: 20 -> epochs: 5", "processes: 2 -> processes: 1",
    )  # fmt: skip
    stack("upload", name, "rows.csv")
    deployed = stack.json("deploy", name)[0]
    assert stack.json("deploy", name)[0]["deployment_id"] == deployed["deployment_id"]
    try:
        run = promoting(stack, deployed["deployment_id"])
        answered = asked_by_monitoring(stack, name, deployed["deployment_id"])
    finally:
        with stack.prefect() as client:
            client.delete_deployment(deployed["deployment_id"])
    report = json.loads(stack.adapters.store.get(f"runs/{run.id}.json"))
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    assert stack.adapters.ledger.head(name).actor == "schedule"
    assert answered["outcome"] == "unchanged"  # one request, also when there is nothing to do
    assert answered["because"] == "accuracy fell below 0.9, window 1970-01-01T00:00:00Z"


def promoting(stack: Any, deployment_id: str) -> FlowRun:
    """The run that made the first champion, once it has ended. Ticks of the minutes that it took may have ended before
    it was seen: as missed, or with nothing to do."""

    def found() -> FlowRun | None:
        for run in DeploymentRuns(stack, deployment_id).all():
            assert run.state_name not in ("Failed", "Crashed"), run.state
            report = read_report(stack.adapters, str(run.id)) if run.state_name == "Completed" else None
            if report is not None and report["outcome"] == "promoted":
                return run
        return None

    promoted: FlowRun = wait_for("a run that promotes", found, 600)
    return promoted


def asked_by_monitoring(stack: Any, name: str, deployment_id: str) -> dict[str, Any]:
    """The report of the run that an alarm starts, through Prefect's event and automation."""
    adapters = stack.adapters
    head = adapters.ledger.head(name)
    alarm = Finding(
        pipeline=name, version=head.version, generation=head.generation, window=WindowSpan(from_s=0, to_s=60, rows=9),
        kind="quality", subject="accuracy", severity="alarm", measure="accuracy", n=9, threshold=">= 0.9", method="m",
        words="accuracy fell below 0.9", policy="p" * 64, at_s=60,
    )  # fmt: skip
    publish_finding(adapters.store, alarm)
    follow_requests(deployment_id, name, wanted=True)
    follow_requests(deployment_id, name, wanted=True)  # as every deployment does: one automation all the same
    want_retrain(adapters, alarm, at_s=time.time())
    (run_id,) = wait_for("a run to take the request", lambda: runs_of(adapters.store, alarm.id))
    report = wait_for("its report", lambda: read_report(adapters, run_id))
    follow_requests(deployment_id, name, wanted=False)
    return dict(report)
