"""Datasets of workloads with named tensors, over the memory stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training
from mlratchet.models.workloads.loading import load_workload

from tests.unit.tensors.named_models import lines

HERE = "tests.unit.tensors.named_models"
Jobs = Callable[..., TrainJob]
Train = Callable[..., TrainResult]


def dataset_of(store: MemoryStore, use: str, *, count: int = 200) -> str:
    """Written as the road does it; the id."""
    ref, raw, source = WorkloadRef(use=f"{HERE}:{use}"), MemoryStore("raw"), SourceConfig(prefix="t/")
    workload = load_workload(ref.use, {})
    rows = lines(workload.tensors(), count)
    raw.put("t/rows.jsonl", "\n".join(json.dumps(row) for row in rows).encode())
    snapshot = take_snapshot(raw, store, prefix="t/")
    records, rejects = read_dataset_records(store, snapshot, workload, source)
    assert rejects == []
    manifest = write_dataset(
        store, snapshot, records, use, ref, DataConfig(rows_per_shard=60), source, class_names=("no", "yes"),
        tensors=workload.input_spec().tensors,
    )  # fmt: skip
    return manifest.id


def job_of(use: str, dataset: str, work_key: str, epoch: int = 1, **changes: Any) -> TrainJob:
    """A short training in eight shards."""
    options = {
        "epochs": 3, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05}, "checkpoint": {"every_steps": 3},
        **changes,
    }  # fmt: skip
    return TrainJob(
        work_key=work_key, epoch=epoch, dataset_id=dataset, workload=WorkloadRef(use=f"{HERE}:{use}"),
        train=TrainConfig.model_validate(options), processes=1, scratch=".",
    )  # fmt: skip


@pytest.fixture
def train(store: MemoryStore) -> Train:
    """Of a workload by its name, alone in this process."""

    def make(use: str, work_key: str = "w", epoch: int = 1, **changes: Any) -> TrainResult:
        around = Surroundings(**changes.pop("surroundings", {}))
        job = job_of(use, dataset_of(store, use), work_key, epoch, **changes)
        result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result

    return make
