"""The process of a flow run runs a flow of ours, whatever Prefect's API says of deployments, states and results."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import cloudpickle
import pytest
from mlratchet.flows.retrain import retrain
from mlratchet.flows.runs import engine
from mlratchet.flows.suspension import Waits, suspended_state
from mlratchet.infra.stack.prefect_worker import command_of, fork_runs
from mlratchet.infra.stack.prepare import crash_automation
from mlratchet.models.errors import SecurityError
from prefect.client.schemas.objects import Flow, FlowRun, State, StateType, WorkPool
from prefect.results import ResultRecordMetadata, ResultStore
from prefect.serializers import PickleSerializer
from prefect.workers import process

HOSTILE: dict[str, Any] = {
    "command": "touch /tmp/ratchet-was-here",
    "env": {"LD_PRELOAD": "/tmp/evil.so", "PYTHONPATH": "/tmp/evil", "PREFECT__FLOW_ENTRYPOINT": "/tmp/evil.py:flow"},
    "working_dir": "/tmp",
    "name": "{{ evil }}",
}


class FakeApi:
    """What the worker asks Prefect for a run, answered by somebody who may write to its API."""

    def __init__(self, name: str) -> None:
        self.flow = Flow(id=uuid4(), name=name)

    async def read_deployment(self, _id: Any) -> Any:
        steps = [{"prefect.deployments.steps.run_shell_script": {"script": HOSTILE["command"]}}]
        return SimpleNamespace(
            id=uuid4(), name="digits", job_variables=dict(HOSTILE), pull_steps=steps, entrypoint="/tmp/evil.py:flow",
            path="/", updated=None,
        )  # fmt: skip

    async def read_flow(self, _id: Any) -> Flow:
        return self.flow


def hostile_run() -> FlowRun:
    return FlowRun(id=uuid4(), flow_id=uuid4(), deployment_id=uuid4(), job_variables=dict(HOSTILE), name="r")


@pytest.fixture
def _worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its replacements, in this process for one test."""
    monkeypatch.setattr(process.ProcessWorker, "job_configuration", process.ProcessWorker.job_configuration)
    monkeypatch.setattr(process, "load_flow_from_flow_run", process.load_flow_from_flow_run)
    fork_runs("/home/of/the/stack")


@pytest.mark.usefixtures("_worker")
def test_neither_pool_nor_deployment_nor_run_choose_command_environment_or_folder() -> None:
    template = process.ProcessWorker.get_default_base_job_template()
    template["job_configuration"] |= HOSTILE
    template["variables"]["properties"]["command"]["default"] = HOSTILE["command"]
    run = hostile_run()
    job = asyncio.run(
        process.ProcessWorker.job_configuration.resolve_for_flow_run(
            run,
            client=FakeApi("retrain"),  # type: ignore[arg-type]  # it answers what is asked
            work_pool=WorkPool(id=uuid4(), name="ratchet", type="process", base_job_template=template),
            worker_name="local",
        )
    )
    assert job.command == command_of("/home/of/the/stack")
    assert job._command_configured
    assert job.working_dir is None
    assert not {*HOSTILE["env"].values()} & {*job.env.values()}
    assert job.env["PREFECT__FLOW_RUN_ID"] == str(run.id)


def test_the_flow_is_ours_by_its_name() -> None:
    assert engine.flow_named("retrain") is retrain
    with pytest.raises(SecurityError, match="flow 'evil' is none of ours"):
        engine.flow_named("evil")


def test_a_result_that_a_state_points_to_is_not_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("read", "aread"):
        monkeypatch.setattr(ResultStore, name, getattr(ResultStore, name))
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> Any:
            return Path.touch, (marker,)

    planted = tmp_path / "result"
    body = base64.encodebytes(cloudpickle.dumps(Bomb())).decode()
    metadata = ResultRecordMetadata(storage_key=str(planted), serializer=PickleSerializer(), expiration=None)
    planted.write_text(json.dumps({"metadata": metadata.model_dump(mode="json"), "result": body}))
    state = State(type=StateType.COMPLETED, data=metadata)
    asyncio.run(state.aresult(retry_result_failure=False))
    assert marker.exists()  # why the replacement is there
    marker.unlink()
    engine.refuse_stored_results()
    with pytest.raises(SecurityError, match="points to a stored result"):
        asyncio.run(state.aresult(retry_result_failure=False))
    assert not marker.exists()


def test_a_flow_that_waits_for_people_is_suspended_once_nothing_of_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A heartbeat after that would have it declared crashed; and its process exits as one that has done its part."""
    told: list[str] = []
    waits = Waits(SimpleNamespace(run="r"), SimpleNamespace())  # type: ignore[arg-type]
    run = SimpleNamespace(flow_id=uuid4(), id=uuid4(), name="r")
    api = SimpleNamespace(read_flow_run=lambda _: run, read_flow=lambda _: SimpleNamespace(name="retrain"))

    def run_flow(*_: Any, **__: Any) -> None:
        try:
            raise waits
        finally:
            told.append("the flow has ended")

    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(run.id))
    monkeypatch.setattr(engine, "get_client", lambda **_: contextlib.nullcontext(api))
    monkeypatch.setattr(engine, "flow_run_logger", lambda **_: None)
    monkeypatch.setattr(engine, "configure_from_env", lambda: None)
    monkeypatch.setattr(engine, "refuse_stored_results", lambda: None)
    monkeypatch.setattr(engine, "run_flow", run_flow)
    monkeypatch.setattr(engine, "suspend", lambda said: told.append("suspended" if said is waits else "?"))
    with pytest.raises(SystemExit) as stop:
        engine.main()
    assert stop.value.code == 0
    assert told == ["the flow has ended", "suspended"]


def test_a_run_that_waits_without_a_process_is_not_taken_for_crashed() -> None:
    trigger = crash_automation()["trigger"]
    assert f"prefect.flow-run.{suspended_state('f').name}" in trigger["expect"]
    assert set(trigger["after"]) <= set(trigger["expect"])
