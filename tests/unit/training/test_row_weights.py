"""Rows of the inference log count as often as the file says, in every mode, and a resume goes on to the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.objectives.losses import classification, multi_label, regression
from mlratchet.models.sources.record import LOGGED, LOGGED_COLUMN, Record
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.row_weights import row_weights, weighted
from mlratchet.models.training.run import run_training
from safetensors.torch import load

from tests.unit.training.forks import in_forks

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b", "c"], "classes": ["0", "1"], "hidden": 8},
)
LOSSES: dict[str, Any] = {
    "classes": (
        lambda o, y: classification.cross_entropy(o, y, weight=None, label_smoothing=0.1),
        lambda n: (torch.randn(n, 3), torch.randint(0, 3, (n,))),
    ),
    "labels": (
        lambda o, y: multi_label.binary_cross_entropy(o, y, weight=None, label_smoothing=0.0),
        lambda n: (torch.randn(n, 3), torch.randint(0, 2, (n, 3)).float()),
    ),
    "numbers": (regression.huber, lambda n: (torch.randn(n, 1), torch.randn(n))),
}


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("ours", [0, 1, 5, 12])
def test_a_row_of_weight_two_is_as_one_that_is_there_twice(kind: str, ours: int) -> None:
    loss, drawn = LOSSES[kind]
    torch.manual_seed(ours)
    output, target = drawn(12)
    at = torch.randperm(12)[:ours]
    weight = torch.ones(12)
    weight[at] = 2.0
    twice = torch.cat([torch.arange(12), at])
    expected = loss(output[twice], target[twice]) * len(twice) / 12
    assert weighted(loss, output, target, weight) == pytest.approx(float(expected), rel=1e-5)
    assert torch.equal(weighted(loss, output, target, None), loss(output, target))


@pytest.fixture
def manifest(raw: MemoryStore, store: MemoryStore) -> DatasetManifest:
    """300 rows; the log gave every fifth, and says the opposite of the others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    raw.put("t/rows.csv", b"x")
    records = [
        Record(
            id=f"r{i}", x=row, y=int((row.sum() > 0) ^ (i % 5 == 0)), content_sha256=str(i),
            columns={LOGGED_COLUMN: LOGGED} if i % 5 == 0 else {},
        )
        for i, row in enumerate(x)
    ]  # fmt: skip
    snapshot = take_snapshot(raw, store, prefix="t/")
    return write_dataset(
        store, snapshot, records, "code", WORKLOAD, DataConfig(), SourceConfig(prefix="t/"), class_names=("0", "1")
    )


def trained(
    store: MemoryStore, manifest: DatasetManifest, key: str, weight: float, *, epoch: int = 1, **changes: Any
) -> TrainResult:
    result = as_rank(0, 1, store, manifest, key, weight, epoch=epoch, **changes)
    assert result is not None
    return result


def as_rank(
    rank: int, world: int, store: MemoryStore, manifest: DatasetManifest, key: str, weight: float, *, epoch: int = 1,
    **changes: Any,
) -> TrainResult | None:  # fmt: skip
    options = {
        "epochs": 4, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05},
        "checkpoint": {"every_steps": 4}, **changes,
    }  # fmt: skip
    job = TrainJob(
        work_key=key, epoch=epoch, dataset_id=manifest.id, workload=WORKLOAD, logged_weight=weight,
        train=TrainConfig.model_validate(options), processes=world, scratch=".",
    )  # fmt: skip
    return run_training(job, store, rank=rank, world=world, device=torch.device("cpu"), around=Surroundings())


def test_the_manifest_counts_them_by_side_and_every_side_keeps_its_mark(
    store: MemoryStore, manifest: DatasetManifest
) -> None:
    assert sum(manifest.logged_rows.values()) == 60
    assert load_dataset(store, manifest.id) == manifest
    for side, count in manifest.logged_rows.items():
        column = load_split(store, manifest, side).columns[LOGGED_COLUMN]
        assert sum(cell == LOGGED for cell in column) == count > 0


def test_without_a_weight_nothing_is_weighed(store: MemoryStore, manifest: DatasetManifest) -> None:
    rows = load_split(store, manifest, "train")
    assert row_weights(rows, 1.0) is None
    weights = row_weights(rows, 3.0)
    assert weights is not None
    assert weights.tolist() == [3.0 if cell == LOGGED else 1.0 for cell in rows.columns[LOGGED_COLUMN]]


@pytest.mark.parametrize("changes", [{}, {"mode": "fast"}, {"accumulation": 3}], ids=["exact", "fast", "pieces"])
def test_the_weight_reaches_the_loss_and_a_resume_goes_on_to_the_same_weights(
    store: MemoryStore, manifest: DatasetManifest, changes: dict[str, Any]
) -> None:
    whole = trained(store, manifest, "whole", 9.0, **changes)
    arm("checkpoint.after_marker", "raise")
    with pytest.raises(InjectedFault):
        trained(store, manifest, "cut", 9.0, **changes)
    resumed = trained(store, manifest, "cut", 9.0, epoch=2, **changes)
    assert 0 < resumed.resumed_from_step < whole.steps
    assert resumed.weights_sha256 == whole.weights_sha256
    plain = trained(store, manifest, "plain", 1.0, **changes)
    assert plain.weights_sha256 != whole.weights_sha256
    # of what is judged every row counts once: whoever believes the log answers four of five rows wrong
    assert plain.history[-1]["validation_accuracy"] > 0.6 > 0.5 > whole.history[-1]["validation_accuracy"]


@pytest.mark.slow
def test_loader_workers_hand_the_weights_over(store: MemoryStore, manifest: DatasetManifest) -> None:
    alone, handed = (
        trained(store, manifest, f"w{workers}", 3.0, loader_workers=workers, epochs=1) for workers in (0, 1)
    )
    assert alone.weights_sha256 == handed.weights_sha256


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_two_ranks_weigh_each_row_as_one_does(
    store: MemoryStore, manifest: DatasetManifest, tmp_path: Path, mode: str
) -> None:
    """In exact mode to the same bits; in fast mode sums are of another order."""
    changes: dict[str, Any] = {"mode": mode, "epochs": 1, "processes": 2}

    def of_rank(rank: int) -> Any:
        result = as_rank(rank, 2, store, manifest, "two", 9.0, **changes)
        return result and [result.weights_sha256, result.history[-1]["train_loss"], store.get(result.weights_key).hex()]

    (sha256, loss, bits), other = in_forks(2, of_rank, tmp_path)
    assert other is None
    alone, plain = (trained(store, manifest, f"one{weight}", weight, **changes) for weight in (9.0, 1.0))
    assert loss == pytest.approx(alone.history[-1]["train_loss"], rel=1e-4)
    assert mode == "fast" or sha256 == alone.weights_sha256
    ours, as_one, unweighed = (
        load(data) for data in (bytes.fromhex(bits), store.get(alone.weights_key), store.get(plain.weights_key))
    )
    assert all(torch.allclose(tensor, as_one[name], atol=1e-4) for name, tensor in ours.items())
    assert not all(torch.allclose(tensor, unweighed[name], atol=1e-3) for name, tensor in ours.items())
