"""The loop of one rank, in this process: it learns, resumes exactly, and stops with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.weights import initial_weights_key
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError
from mlratchet.models.fault_points import InjectedFault, arm
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.pipeline.spec import WorkloadRef
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import StaleAttemptError, TrainingError, TrainJob
from mlratchet.models.training.loop import run_training
from mlratchet.models.training.result import TrainResult, find_result
from mlratchet.models.workloads.base import Record
from mlratchet.models.workloads.loading import load_workload
from safetensors.torch import load, save

WORKLOAD = WorkloadRef(
    use="mlratchet.models.workloads.tabular:TableClassifier",
    parameters={"columns": ["a", "b", "c"], "classes": ["0", "1"], "hidden": 8},
)
Train = Callable[..., TrainResult]


@pytest.fixture
def dataset(raw: MemoryStore, store: MemoryStore) -> str:
    """300 rows that two linear layers can tell apart."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    raw.put("t/rows.csv", b"x")
    records = [Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i)) for i, row in enumerate(x)]
    snapshot = take_snapshot(raw, store, prefix="t/")
    manifest = write_dataset(
        store, snapshot, records, "code", WORKLOAD, DataConfig(), SourceConfig(prefix="t/"), class_names=("0", "1")
    )
    return manifest.id


@pytest.fixture
def train(store: MemoryStore, dataset: str, tmp_path: Any) -> Train:
    def make(epoch: int = 1, work_key: str = "w", events: list[Any] | None = None, **changes: Any) -> TrainResult:
        parent = changes.pop("parent", (None, None))
        options = {"epochs": 6, "global_batch_size": 32, "optimizer": {"learning_rate": 0.05}, **changes}
        job = TrainJob(
            work_key=work_key, epoch=epoch, dataset_id=dataset, workload=WORKLOAD,
            train=TrainConfig.model_validate(options), processes=1, scratch=str(tmp_path),
            parent_weights_key=parent[0], parent_weights_sha256=parent[1],
        )  # fmt: skip
        emit = events.append if events is not None else (lambda event: None)
        result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), emit=emit)
        assert result is not None
        return result

    return make


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_it_learns(train: Train, optimizer: str, schedule: str) -> None:
    result = train(optimizer={"name": optimizer, "learning_rate": 0.1}, schedule={"name": schedule})
    assert result.history[-1]["validation_accuracy"] > 0.85
    assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]
    assert len(result.history) == 6


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train: Train) -> None:
    assert train(work_key="a").weights_sha256 == train(work_key="b").weights_sha256
    assert train(work_key="a").weights_sha256 != train(work_key="c", seed=5).weights_sha256


@pytest.mark.parametrize("point", ["checkpoint.after_model", "checkpoint.after_optimizer", "checkpoint.after_marker"])
def test_an_interrupted_training_ends_with_the_weights_of_an_uninterrupted_one(train: Train, point: str) -> None:
    whole = train(work_key="whole")
    arm(point, "raise")
    with pytest.raises(InjectedFault):
        train(work_key="cut", epoch=1)
    events: list[Any] = []
    resumed = train(work_key="cut", epoch=2, events=events)
    assert resumed.weights_sha256 == whole.weights_sha256
    assert (resumed.resumed_from_step > 0) is (point == "checkpoint.after_marker")
    assert [event["epoch"] for event in events] == [1, 2, 3, 4, 5, 6]  # a listener that lost some is whole again


def test_a_finished_training_is_found_again(train: Train, store: MemoryStore) -> None:
    result = train()
    assert find_result(store, "w") == result
    assert find_result(store, "other") is None
    weights = load(store.get(result.weights_key, sha256=result.weights_sha256))
    assert set(weights) == {"0.weight", "0.bias", "2.weight", "2.bias"}


def test_an_attempt_that_was_overtaken_may_not_write(train: Train, store: MemoryStore) -> None:
    for _ in range(2):
        take_claim(store, "w", parent_version=None, owner="me", now_s=0.0)
    with pytest.raises(StaleAttemptError, match="overtaken by attempt 2"):
        train(epoch=1)
    assert find_result(store, "w") is None
    assert train(epoch=2).steps > 0


def publish(store: MemoryStore, module: torch.nn.Module) -> tuple[str, str]:
    data = save(dict(module.state_dict()))
    key = initial_weights_key(digest_bytes(data))
    store.put(key, data)
    return key, digest_bytes(data)


def test_a_warm_start_begins_from_the_parents_weights(train: Train, store: MemoryStore) -> None:
    parent = train(work_key="parent", epochs=10)
    warm = train(
        work_key="child",
        epochs=1,
        optimizer={"learning_rate": 1e-6},
        parent=(parent.weights_key, parent.weights_sha256),
    )
    cold = train(work_key="cold", epochs=1, optimizer={"learning_rate": 1e-6})
    assert warm.history[0]["validation_accuracy"] > 0.85
    assert warm.history[0]["train_loss"] < cold.history[0]["train_loss"]


def test_a_changed_structure_takes_what_fits_and_refuses_when_nothing_does(train: Train, store: MemoryStore) -> None:
    wider = load_workload(WORKLOAD.use, {**WORKLOAD.parameters, "classes": ["0", "1", "2"]}).build_model()
    assert train(parent=publish(store, wider)).steps > 0  # the first layer fits, the head is new
    with pytest.raises(TrainingError, match="none of the 2 tensors"):
        train(work_key="v", parent=publish(store, torch.nn.Linear(99, 1)))


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_last_checkpoint(train: Train) -> None:
    with pytest.raises(TrainingError, match=r"loss is (nan|inf) at step \d+ .* lower train.optimizer.learning_rate"):
        train(
            optimizer={"name": "sgd", "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0},
            schedule={"name": "constant", "warmup_fraction": 0.0},
            clip_norm=None,
        )


def test_fewer_rows_than_processes_is_a_data_error(store: MemoryStore, dataset: str, tmp_path: Any) -> None:
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset, workload=WORKLOAD,
        train=TrainConfig(global_batch_size=1000), processes=1000, scratch=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(DataError, match="training rows are fewer than 1000 processes"):
        run_training(job, store, rank=0, world=1000, device=torch.device("cpu"), emit=lambda event: None)
