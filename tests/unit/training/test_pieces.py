"""How rows are cut: no piece is too small for what the model computes over its rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.order import SampleOrder, shard_rows
from mlratchet.models.training.pieces import cut, least_rows
from mlratchet.models.training.queries import split_queries
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn

from tests.unit.training.test_loop import Train, dataset, train

__all__ = ["dataset", "train"]  # fixtures


class OwnNorm(nn.Module):
    """Normalises over the rows without being a layer that is known to."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean.add_(x.mean(dim=0))
            x = nn.functional.batch_norm(x, None, None, training=True)
        output: torch.Tensor = self.layer(x)
        return output


def normalised() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


@given(st.integers(1, 400), st.integers(1, 64), st.integers(1, 32), st.sampled_from([1, 2, 4, 8]), st.integers(1, 2))
def test_no_piece_of_any_step_is_smaller_than_the_model_can_take(
    rows: int, batch: int, accumulation: int, shards: int, least: int
) -> None:
    order = SampleOrder(rows, batch, smallest=shards * least, seed=0)
    if batch < shards * least:
        return  # refused before training
    seen = 0
    for step in range(order.per_epoch):
        indices = order.step(step)
        for shard in range(shards):
            mine = torch.from_numpy(shard_rows(indices, shard, shards))
            pieces = cut(mine, mine, accumulation, least=least)
            assert torch.equal(torch.cat([x for x, _ in pieces]), mine)
            assert min(len(x) for x, _ in pieces) >= least
            assert len(pieces) <= accumulation
            seen += len(mine)
    assert seen >= (rows // batch) * batch


@given(st.lists(st.integers(1, 3), min_size=2, max_size=30), st.integers(1, 20))
def test_no_piece_of_queries_holds_fewer_than_two_where_two_are_needed(sizes: list[int], most: int) -> None:
    number = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes)).float()
    target = torch.stack([torch.zeros(len(number)), number], dim=1)
    pieces = split_queries(number, target, max(1, min(most, len(sizes) // 2)))
    assert min(len(y[:, 1].unique()) for _, y in pieces) >= 2
    assert torch.equal(torch.cat([x for x, _ in pieces]), number)


def test_what_a_model_can_take_is_found_by_asking_it_and_changes_nothing() -> None:
    x = torch.rand(4, 3)
    own, *others = OwnNorm().train(), normalised(), nn.Linear(3, 2)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    assert [least_rows(module, x) for module in (own, *others)] == [2, 2, 1]
    assert not own.mean.any()
    assert own.training
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("accumulation", [1, 2, 8])
@pytest.mark.parametrize("mode", ["exact", "fast"])
@pytest.mark.parametrize("model", [normalised, OwnNorm])
def test_batch_normalisation_trains_with_every_accumulation_whatever_the_last_batch_holds(
    train: Train, monkeypatch: pytest.MonkeyPatch, accumulation: int, mode: str, model: Any
) -> None:
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: model())
    for batch in (12, 20):  # shards of three and of five rows
        result = train(accumulation=accumulation, mode=mode, epochs=1, global_batch_size=batch, work_key=f"{batch}")
        assert result.steps > 0


def test_a_batch_that_leaves_a_shard_of_one_row_is_refused_before_training(
    train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TableClassifier, "build_model", lambda self: normalised())
    with pytest.raises(ConfigurationError, match=r"train.global_batch_size 6 .* at least 8"):
        train(global_batch_size=6)
