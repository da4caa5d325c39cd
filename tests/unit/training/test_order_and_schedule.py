"""Which rows a step takes, and at what rate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.training.config import ScheduleConfig, TrainConfig
from mlratchet.models.training.optim import learning_rate
from mlratchet.models.training.order import global_batches, steps_per_epoch
from pydantic import ValidationError


@given(rows=st.integers(1, 500), batch=st.integers(1, 64), world=st.integers(1, 4), epoch=st.integers(0, 5))
def test_an_epoch_takes_every_row_at_most_once_and_leaves_out_fewer_than_the_processes(
    rows: int, batch: int, world: int, epoch: int
) -> None:
    batches = list(global_batches(rows, batch, world, seed=3, epoch=epoch))
    taken = np.concatenate([*batches, np.zeros(0, np.int64)])
    assert len(batches) == steps_per_epoch(rows, batch, world)
    assert len(set(taken.tolist())) == len(taken)
    assert rows - len(taken) < world or rows < world
    assert all(len(one) >= min(world, batch) for one in batches)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def first(**kw: int) -> list[int]:
        arguments = {"seed": 1, "epoch": 2, **kw}
        return next(global_batches(100, 100, 1, **arguments)).tolist()

    assert first() == first()
    assert first() != first(epoch=3)
    assert first() != first(seed=2)


@pytest.mark.parametrize("name", ["constant", "cosine", "step"])
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
        {"processes": 3, "global_batch_size": 32},
        {"initial_weights": "weights.pth"},
    ],
)
def test_settings_that_cannot_train_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TrainConfig.model_validate(bad)
