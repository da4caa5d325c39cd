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

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": [f"x{i}" for i in range(10)], "classes": ["0", "1"], "hidden": 5},
)
MakeJob = Callable[..., TrainJob]


@pytest.fixture(scope="session")
def dataset(stack: Stack) -> str:
    adapters, source = stack.adapters, SourceConfig(prefix="ranks/")
    adapters.raw.upload_file("ranks/rows.csv", stack.project / "rows.csv")
    snapshot = take_snapshot(adapters.raw, adapters.store, prefix="ranks/")
    workload = load_workload(WORKLOAD.use, WORKLOAD.parameters)
    records, _ = read_dataset_records(adapters.store, snapshot, workload, source)
    return write_dataset(adapters.store, snapshot, records, "code", WORKLOAD, DataConfig(), source).id


@pytest.fixture(scope="session")
def job(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> MakeJob:
    def make(work_key: str | None = None, epoch: int = 1, **changes: Any) -> TrainJob:
        world, workload = changes.pop("world", 2), changes.pop("workload", WORKLOAD)
        scratch = changes.pop("scratch", None) or str(tmp_path_factory.mktemp("attempt"))
        options = {"epochs": 60, "global_batch_size": 32, "processes": 2, "checkpoint": {"every_steps": 40}, **changes}
        return TrainJob(
            work_key=work_key or uuid.uuid4().hex, epoch=epoch, dataset_id=dataset, workload=workload,
            train=TrainConfig.model_validate(options), processes=world, scratch=scratch,
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def undisturbed(stack: Stack, job: MakeJob) -> TrainResult:
    """The weights of one process."""
    return in_this_process(job(world=1), stack.adapters.store)
