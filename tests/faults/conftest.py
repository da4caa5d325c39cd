"""The invariants of a run, whatever happened to it."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import httpx
import pytest
from mlflow.tracking import MlflowClient
from mlratchet.infra.machine.processes import WORK_MARK, marked_processes
from mlratchet.infra.serving.local import LocalServers
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.garbage.reachable import DAY_S
from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.actions.collect import collect
from mlratchet.tasks.support.versions import history_of, verify_bytes
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType

from tests.conftest import Stack, wait_for


class Invariants:
    """Checks over everything a pipeline left behind. The numbers are those of the list of invariants."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def no_process_is_left(self, work_key: str) -> None:
        """I6: within seconds of the kill."""
        wait_for("every process of the run to be gone", lambda: not marked_processes(WORK_MARK, work_key))

    def nothing_half_written(self, name: str, work_key: str) -> None:
        """I1, I2, I4: after a kill and before any repair."""
        adapters = self.stack.adapters
        mine = [v for v in adapters.registry.list_versions(name) if v.tags["ratchet.work_key"] == work_key]
        assert len(mine) <= 1
        assert [e.generation for e in adapters.ledger.entries(name)] == list(
            range(1, len(adapters.ledger.entries(name)) + 1)
        )
        record = find_registration(adapters.store, work_key)
        if record is not None:
            verify_bytes(adapters, record)
        for info in adapters.store.list(f"work/{work_key}/"):
            if info.key.endswith("marker.json"):
                folder = info.key.removesuffix("marker.json")
                for part in json.loads(adapters.store.get(info.key))["parts"]:
                    adapters.store.get(f"{folder}{part['sha256']}.safetensors", sha256=part["sha256"])

    def all_hold(self, name: str, report: dict[str, Any]) -> None:
        """I1 to I10, after the repair and a run to the end."""
        adapters, key = self.stack.adapters, report["work_key"]
        mine = [v for v in adapters.registry.list_versions(name) if v.tags["ratchet.work_key"] == key]
        assert len(mine) == 1  # I1
        self.nothing_half_written(name, key)
        head = adapters.ledger.head(name)  # I2
        assert head is not None
        assert head.work_key == key
        champion = adapters.registry.get_alias(name, "champion")
        assert champion is not None
        assert champion.version == head.version == report["version"]
        url = LocalServers(self.stack.home).url(name)
        assert httpx.get(f"{url}/ready", timeout=60).headers["x-model-version"] == str(head.version)
        decision = load_decision(adapters.store, head.decision)  # I3
        assert (decision["verdict"], decision["version"]) == ("pass", head.version)
        assert [entry["problem"] for entry in history_of(adapters, name) if not entry["verified"]] == []
        record = find_registration(adapters.store, key)
        assert record is not None
        assert head.manifest == record.manifest_digest == decision["digests"]["manifest"]
        dataset = load_dataset(adapters.store, record.dataset_id)  # I4
        assert all(len(load_split(adapters.store, dataset, side).ids) == n for side, n in dataset.rows.items())
        self.no_process_is_left(key)  # I6
        self.no_run_hangs()
        self.tracking_is_whole(record.run_id)  # I8
        uploads = adapters.bucket(adapters.settings.mlflow_bucket)  # I9, as if two days had passed
        collect(adapters.store, uploads, delete=True, now_s=time.time() + 2 * DAY_S)
        assert collect(adapters.store, uploads, delete=False, now_s=time.time() + 2 * DAY_S) == []
        assert self.stack.json("run", name, "--local")["outcome"] == "unchanged"  # I10

    def no_run_hangs(self) -> None:
        """I6: no flow run is in a state that it will not leave."""
        running = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
        )
        with self.stack.prefect() as client:
            wait_for("every flow run to end", lambda: not client.read_flow_runs(flow_run_filter=running))

    def tracking_is_whole(self, run_id: str) -> None:
        """I8: terminal, and no step of a metric twice."""
        client = MlflowClient(self.stack.settings.mlflow_tracking_uri)
        run = client.get_run(run_id)
        assert run.info.status == "FINISHED"
        for metric in ("train_loss", "validation_loss"):
            steps = Counter(m.step for m in client.get_metric_history(run_id, metric))
            assert set(steps.values()) == {1}, f"{metric} has a step twice: {steps}"
            assert sorted(steps) == list(range(1, int(run.data.params["epochs"]) + 1))


@pytest.fixture
def invariants(stack: Stack) -> Invariants:
    """For tests of faults."""
    return Invariants(stack)
