"""Ranks of one training score with the weights that are published: what each kept of its own rows is in none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.metrics.rows import load_rows
from mlratchet.models.sources.record import Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training
from mlratchet.models.training.validation import score_rows
from mlratchet.models.workloads.tabular import TableClassifier
from safetensors.torch import load
from torch import nn

from tests.unit.training.forks import in_forks

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier", parameters={"columns": ["a", "b"], "classes": ["0", "1"]}
)
CPU = torch.device("cpu")


class Normalised(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        self.register_buffer("scores", torch.zeros(2, 0))  # of no element
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))


def test_statistics_of_one_ranks_rows_are_in_no_output_of_fast(
    raw: MemoryStore, store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank of DistributedDataParallel has its own until the next step: rank 0's are published."""
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: Normalised())
    monkeypatch.setattr("mlratchet.models.training.validation.CHUNK_ROWS", 16)  # every rank scores some
    raw.put("t/rows.csv", b"x")
    x_NF = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    records = [Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i)) for i, row in enumerate(x_NF)]
    source, names = SourceConfig(prefix="t/"), ("0", "1")
    snapshot = take_snapshot(raw, store, prefix="t/")
    dataset = write_dataset(store, snapshot, records, "code", WORKLOAD, DataConfig(), source, class_names=names).id
    options = {
        "mode": "fast", "processes": 2, "epochs": 2, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05},
        "early_stopping": {"metric": "loss", "patience_epochs": 5},
    }  # fmt: skip
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset, workload=WORKLOAD, train=TrainConfig.model_validate(options),
        processes=2, scratch=str(tmp_path),
    )  # fmt: skip

    def of_rank(rank: int) -> Any:
        result = run_training(job, store, rank=rank, world=2, device=CPU, around=Surroundings())
        if result is None:
            return None
        module = TableClassifier(**WORKLOAD.parameters).prepared_model()
        module.load_state_dict(load(store.get(result.weights_key)))
        rows, said = load_split(store, load_dataset(store, dataset), "test"), load_rows(store, result.rows_key or "")
        again, _ = score_rows(module, rows, loss=None, rank=0, world=1, device=CPU, beat=lambda: None)
        assert len(again.ids) > 32
        return float(np.abs(again.output - said.output).max())

    assert in_forks(2, of_rank, tmp_path) == [0.0, None]
