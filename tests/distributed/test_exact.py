"""Mode exact: one hash for 1, 2 and 4 processes, for any loader workers, and after kills at random moments."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.processes import WORK_MARK, marked_processes
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import InfrastructureError
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.workload import WorkloadRef
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import REPOSITORY, Stack, wait_for

pytestmark = [pytest.mark.stack, pytest.mark.distributed, pytest.mark.slow]
TRANSFORMER = "tests.distributed.small_transformer:SmallTransformer"
MakeJob = Callable[..., TrainJob]


@pytest.fixture(scope="module", params=["digits", "transformer"])
def job(request: pytest.FixtureRequest, stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    adapters = stack.adapters
    if request.param == "digits":
        spec = read_pipeline(REPOSITORY / "deployments" / "pipelines" / "digits.yaml")
        stack("seed", "digits", "--delivery", "1")
        workload, source = spec.workload, spec.source
    else:
        spec = read_pipeline(stack.pipelines / "two-layers.yaml")
        workload = WorkloadRef(use=TRANSFORMER, parameters=spec.workload.parameters)
        source = spec.source.model_copy(update={"prefix": "exact/"})
        adapters.raw.upload_file("exact/rows.csv", stack.project / "rows.csv")
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix=source.prefix)
    made = load_workload(workload.use, dict(workload.parameters))
    records, _ = read_dataset_records(adapters.store, snapshot, made, source)
    dataset = write_dataset(adapters.store, snapshot, records, "code", workload, DataConfig(), source).id

    def make(processes: int, *, work_key: str | None = None, epoch: int = 1, **changes: Any) -> TrainJob:
        options = {"epochs": 8, "global_batch_size": 64, "checkpoint": {"every_steps": 5}, **changes}
        return TrainJob(
            work_key=work_key or uuid.uuid4().hex, epoch=epoch, dataset_id=dataset, workload=workload,
            train=TrainConfig.model_validate(options), processes=processes,
            scratch=str(tmp_path_factory.mktemp("attempt")),
        )  # fmt: skip

    return make


@pytest.fixture(scope="module")
def alone(stack: Stack, job: MakeJob) -> TrainResult:
    """One process, nobody disturbs it."""
    return LocalLauncher(stack.home).train(job(1), on_event=lambda event: None)


def losses(result: TrainResult) -> list[float]:
    return [value for entry in result.history for name, value in sorted(entry.items()) if name.endswith("_loss")]


@pytest.mark.parametrize(("processes", "workers"), [(2, 2), (4, 0)])
def test_the_bits_do_not_depend_on_processes_or_loader_workers(
    stack: Stack, job: MakeJob, alone: TrainResult, processes: int, workers: int
) -> None:
    made = job(processes, loader_workers=workers)
    result = LocalLauncher(stack.home).train(made, on_event=lambda event: None)
    assert result.weights_sha256 == alone.weights_sha256
    assert losses(result) == losses(alone)
    assert result.rows_key == alone.rows_key
    wait_for("loader workers to be gone", lambda: marked_processes(WORK_MARK, made.work_key) == [], 15)


def kill_in(seconds: float, work_key: str, chance: random.Random) -> Callable[[dict[str, Any]], None]:
    """Kills the agent or a rank some time after the first report."""
    began: list[float] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] != "step":
            return
        began.append(time.monotonic())
        if time.monotonic() - began[0] >= seconds:
            victims = marked_processes(WORK_MARK, work_key)
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(victims).pid, signal.SIGKILL)

    return hear


def test_the_bits_survive_five_kills_with_other_numbers_of_processes(
    stack: Stack, job: MakeJob, alone: TrainResult
) -> None:
    seed = random.randrange(10**6)
    chance, work_key, epoch = random.Random(seed), uuid.uuid4().hex, 0
    launcher = LocalLauncher(stack.home)
    for processes in (1, 4, 2, 1, 2):
        epoch += 1
        made = job(processes, work_key=work_key, epoch=epoch, max_restarts=0, log_every_steps=1)
        with suppress(InfrastructureError):
            launcher.train(made, on_event=kill_in(chance.uniform(0, 0.4), work_key, chance))
        wait_for("every process to be gone", lambda: marked_processes(WORK_MARK, work_key) == [], 15)
    result = launcher.train(job(2, work_key=work_key, epoch=epoch + 1), on_event=lambda event: None)
    assert result.weights_sha256 == alone.weights_sha256, f"seed {seed}"
    assert losses(result) == losses(alone), f"seed {seed}"
    assert result.rows_key == alone.rows_key, f"seed {seed}"
