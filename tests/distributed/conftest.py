"""One small training, undisturbed, that the disturbed ones are compared with."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.result import TrainResult
from mlratchet.models.workloads.loading import load_workload

from tests.conftest import Stack
from tests.distributed.training import in_this_process
from tests.distributed.troubled import go_on_of

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": [f"x{i}" for i in range(10)], "classes": ["0", "1"], "hidden": 5},
)
EPOCHS = 30
INTO_THE_SIXTH = 588  # batches of eight rows, of all ranks together; an epoch has 112
MakeJob = Callable[..., TrainJob]


def job_of(stack: Stack, scratch: str, work_key: str | None, epoch: int, **changes: Any) -> TrainJob:
    """Its dataset is written for each job: other tests of this stack collect what no run refers to."""
    adapters, source = stack.adapters, SourceConfig(prefix="ranks/")
    adapters.raw.upload_file("ranks/rows.csv", stack.project / "rows.csv")
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix="ranks/")
    world, workload = changes.pop("world", 2), changes.pop("workload", WORKLOAD)
    if changes.pop("held", False):
        parameters = {**WORKLOAD.parameters, "go_on": str(go_on_of(scratch)), "batches": INTO_THE_SIXTH // world}
        workload = WorkloadRef(use="tests.distributed.troubled:HeldTable", parameters=parameters)
    made = load_workload(WORKLOAD.use, WORKLOAD.parameters)
    records, _ = read_dataset_records(adapters.store, snapshot, made, source)
    dataset = write_dataset(adapters.store, snapshot, records, "code", WORKLOAD, DataConfig(), source).id
    options = {"epochs": EPOCHS, "global_batch_size": 32, "processes": 2, "checkpoint": {"every_steps": 40}, **changes}
    return TrainJob(
        work_key=work_key or uuid.uuid4().hex, epoch=epoch, dataset_id=dataset, workload=workload,
        train=TrainConfig.model_validate(options), processes=world, scratch=scratch,
    )  # fmt: skip


@pytest.fixture
def job(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    def make(work_key: str | None = None, epoch: int = 1, **changes: Any) -> TrainJob:
        scratch = changes.pop("scratch", None) or str(tmp_path_factory.mktemp("attempt"))
        return job_of(stack, scratch, work_key, epoch, **changes)

    return make


@pytest.fixture(scope="session")
def undisturbed(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """The weights of one process."""
    scratch = str(tmp_path_factory.mktemp("undisturbed"))
    return in_this_process(job_of(stack, scratch, None, 1, world=1), stack.adapters.store)
