"""What a training writes down of its own speed: a slow rank, and slow writes, show in the result."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.engine import Engine
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.rank_times import rank_times, slowest_of
from mlratchet.models.training.run import run_training

from tests.unit.training.forks import in_forks
from tests.unit.training.test_loop import WORKLOAD, Train, dataset, train

__all__ = ["dataset", "train"]  # fixtures

SLOW_S = 0.004  # that a write takes more
SLOW_RANK_S = 0.025  # that the slow rank works more for each shard: a hundred times what it takes


def test_the_slowest_rank_is_told_with_its_time_and_the_median() -> None:
    assert slowest_of([1.0, 4.0, 1.2]) == {
        "slowest_rank": 1.0,
        "slowest_rank_seconds": 4.0,
        "median_rank_seconds": 1.2,
    }


def test_one_rank_is_compared_with_nobody() -> None:
    assert rank_times(3.0, world=1, device=torch.device("cpu")) == {}


def work(seconds: float) -> None:
    """Not a sleep: a rank that has more to do."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_a_rank_that_works_more_is_the_slowest_of_every_epoch(
    store: MemoryStore, dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Engine.to_device
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset, workload=WORKLOAD, processes=2, scratch=str(tmp_path),
        train=TrainConfig.model_validate({"epochs": 3, "global_batch_size": 32, "processes": 2}),
    )  # fmt: skip

    def slowed(rank: int, engine: Engine, *batch: Any) -> Any:
        if rank == 1:
            work(SLOW_RANK_S)
        return plain(engine, *batch)

    def of_rank(rank: int) -> Any:
        monkeypatch.setattr(time, "perf_counter", time.process_time)  # else a rank that waits for a core is slow, too
        monkeypatch.setattr(Engine, "to_device", lambda engine, *batch: slowed(rank, engine, *batch))
        device = torch.device("cpu")
        found = run_training(job, store, rank=rank, world=2, device=device, around=Surroundings())
        return [dict(entry) for entry in found.history] if found is not None else None

    history, other = in_forks(2, of_rank, tmp_path)
    assert other is None
    assert [entry["slowest_rank"] for entry in history] == [1.0] * len(history)
    assert all(entry["slowest_rank_seconds"] > 1.2 * entry["median_rank_seconds"] for entry in history)


def test_slow_writes_are_told_with_their_number(train: Train, store: MemoryStore) -> None:
    create = store.create
    store.create = partial(slow_create, create)  # type: ignore[method-assign]
    found = train()
    assert found.checkpoints_written > 0
    assert found.checkpoint_write_seconds > SLOW_S * found.checkpoints_written


def slow_create(create: Any, key: str, data: bytes) -> None:
    if "checkpoints" in key:
        work(SLOW_S)
    create(key, data)
