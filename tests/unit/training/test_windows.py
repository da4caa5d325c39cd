"""The order of data that does not fit on the disk: every row once, mixed within a window, from (sizes, seed, step)."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.windows import WindowOrder


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    window=st.integers(1, 15),
    batch=st.integers(1, 60),
    ragged=st.booleans(),
    epoch=st.integers(0, 3),
)
def test_an_epoch_takes_every_row_once_and_steps_look_at_two_windows(
    sizes: list[int], window: int, batch: int, ragged: bool, epoch: int
) -> None:
    lengths = (lambda rows: rows % 7) if ragged else None
    order = WindowOrder(sizes, batch, window=window, smallest=1, seed=3, lengths=lengths)
    steps = [order.step(epoch * order.per_epoch + at) for at in range(order.per_epoch)]
    assert sorted(np.concatenate(steps).tolist()) == list(range(sum(sizes)))
    assert all(len(one) == batch for one in steps[:-1])
    owner = np.repeat(np.arange(len(sizes)), sizes)
    for at, rows in enumerate(steps):
        begun, number = order.window_of(epoch * order.per_epoch + at)
        assert begun == epoch
        windows = -(-len(sizes) // window)
        ahead = [order.shards_of(epoch, one) for one in range(number, windows)]
        reached = {shard for one in ahead for shard in one}
        assert set(owner[rows].tolist()) <= reached
        if batch <= min(sizes):
            assert set(owner[rows].tolist()) <= {shard for one in ahead[:2] for shard in one}
    assert order.shards_of(epoch, windows) == order.shards_of(epoch + 1, 0)


def test_the_order_depends_on_seed_and_step_alone() -> None:
    def step(at: int, seed: int = 1, *before: int) -> list[int]:
        order = WindowOrder([30, 20, 50, 10, 40], 16, window=2, smallest=1, seed=seed)
        for other in before:
            order.step(other)
        return order.step(at).tolist()

    assert step(7) == step(7, 1, 0, 1, 2, 19) == step(7, 1, 30)
    assert step(7) != step(7, seed=2)
    assert step(0) != step(10)  # of the next epoch


def test_a_resume_in_the_middle_looks_at_one_window() -> None:
    """As many rows as nobody could permute in that time."""
    order = WindowOrder([100_000] * 100_000, 512, window=2, smallest=1, seed=0)
    began = time.process_time()
    half = order.step(order.per_epoch // 2)
    assert time.process_time() - began < 1.0
    assert len(set(half.tolist())) == 512


def test_rows_of_a_window_are_mixed_and_lengths_meet() -> None:
    order = WindowOrder([256] * 8, 32, window=4, smallest=1, seed=0, lengths=lambda rows: rows % 97)
    shards = [len(set((order.step(at) // 256).tolist())) for at in range(order.per_epoch)]
    assert np.mean(shards) > 3
    spread = [float(np.ptp(order.step(at) % 97)) for at in range(order.per_epoch)]
    assert np.median(spread) < 10


def test_no_window_leaves_every_work_key_as_it_is() -> None:
    assert "shuffle_window" not in TrainConfig().identity(world=1)
    assert TrainConfig(shuffle_window=4).identity(world=1)["shuffle_window"] == 4
    with pytest.raises(ValueError, match="shuffle_window"):
        TrainConfig(shuffle_window=0)
