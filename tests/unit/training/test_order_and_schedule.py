"""Which rows a step takes, and at what rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.training.config import ScheduleConfig, TrainConfig
from mlratchet.models.training.optim import learning_rate
from mlratchet.models.training.order import SampleOrder, shard_rows, shard_seed
from pydantic import ValidationError


@given(rows=st.integers(1, 500), batch=st.integers(4, 64), smallest=st.integers(1, 4), epoch=st.integers(0, 5))
def test_an_epoch_takes_every_row_at_most_once_and_leaves_out_fewer_than_the_smallest_batch(
    rows: int, batch: int, smallest: int, epoch: int
) -> None:
    order = SampleOrder(rows, batch, smallest=smallest, seed=3)
    steps = [order.step(epoch * order.per_epoch + at) for at in range(order.per_epoch)]
    taken = np.concatenate([*steps, np.zeros(0, np.int64)])
    assert len(set(taken.tolist())) == len(taken)
    assert rows - len(taken) < smallest or rows < smallest
    assert all(len(one) >= min(smallest, batch) for one in steps)


@given(rows=st.integers(1, 100), shards=st.sampled_from([1, 2, 4, 8]))
def test_the_shards_of_a_step_are_its_rows(rows: int, shards: int) -> None:
    indices = np.random.default_rng(0).permutation(rows)
    parts = [shard_rows(indices, shard, shards) for shard in range(shards)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_order_depends_on_seed_and_step_alone() -> None:
    def step(at: int, seed: int = 1, *before: int) -> list[int]:
        order = SampleOrder(100, 20, smallest=1, seed=seed)
        for other in before:
            order.step(other)
        return order.step(at).tolist()

    assert step(7) == step(7, 1, 0, 1, 2, 19) == step(7, 1, 30)  # a resume may begin anywhere
    assert step(7) != step(2)
    assert step(7) != step(7, seed=2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 10**6), st.integers(0, 255))
def test_seeds_of_neighbours_differ(seed: int, step: int, shard: int) -> None:
    mine = shard_seed(seed, step, shard)
    others = {shard_seed(seed + 1, step, shard), shard_seed(seed, step + 1, shard), shard_seed(seed, step, shard + 1)}
    assert 0 <= mine < 2**63
    assert mine not in others


@pytest.mark.parametrize("name", ["constant", "cosine", "step", "one_cycle"])
def test_the_rate_rises_to_its_peak_and_never_above(name: str) -> None:
    config = ScheduleConfig.model_validate({"name": name, "warmup_fraction": 0.1, "step_epochs": 2})
    rates = [learning_rate(0.5, config, step=s, total=100, per_epoch=10) for s in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert max(rates) == pytest.approx(0.5)
    assert all(rate > 0 for rate in rates[:99])
    tail = rates[10:]
    assert tail == sorted(tail, reverse=True)
    assert (tail[-1] < 0.01) is (name != "constant")


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"epochs": -1},
        {"global_batch_size": 0},
        {"optimizer": {"learning_rate": 0.0}},
        {"optimizer": {"learning_rate": float("nan")}},
        {"processes": 3, "global_batch_size": 32, "mode": "fast"},
        {"processes": 3, "global_batch_size": 33},
        {"shards": 3},
        {"shards": 4, "processes": 8},
        {"shards": 64, "global_batch_size": 32},
        {"optimizer": {"name": "sgd", "factory": "a.b:c"}},
        {"early_stopping": {"patience_epochs": 0}},
        {"initial_weights": "weights.pth"},
    ],
)
def test_settings_that_cannot_train_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(bad)
