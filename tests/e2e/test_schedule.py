"""A worker that runs sees a schedule start a run by itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import DeploymentRuns

pytestmark = [pytest.mark.stack, pytest.mark.slow]


def test_a_schedule_of_every_minute_starts_a_run(stack: Any) -> None:
    name = stack.pipeline(
        "every-minute", 'workload:\n -> schedule:\n  cron: "* * * * *"\nworkload:\n',
        "epochs: 20 -> epochs: 5", "processes: 2 -> processes: 1",
    )  # fmt: skip
    stack("upload", name, "rows.csv")
    deployed = stack.json("deploy", name)[0]
    assert stack.json("deploy", name)[0]["deployment_id"] == deployed["deployment_id"]
    try:
        run = DeploymentRuns(stack, deployed["deployment_id"]).ended()
    finally:
        with stack.prefect() as client:
            client.delete_deployment(deployed["deployment_id"])
    assert run.state_name == "Completed"
    report = json.loads(stack.adapters.store.get(f"runs/{run.id}.json"))
    assert (report["outcome"], report["version"]) == ("promoted", 1)
    assert stack.adapters.ledger.head(name).actor == "schedule"
