"""Rankings draw whole queries, and their losses are those of the papers whatever the batch looks like."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.objectives.losses.ranking import listwise, pairwise
from mlratchet.models.sources.record import GROUP_COLUMN, Split
from mlratchet.models.training.queries import Queries, queries_of, query_target, split_queries

NAMES = st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=40)


@given(names=NAMES, data=st.data())
def test_the_rows_of_drawn_queries_stand_together_and_are_all_of_them(names: list[str], data: st.DataObject) -> None:
    queries = Queries(names)
    drawn = np.asarray(data.draw(st.permutations(range(len(queries)))), dtype=np.int64)[: len(queries) // 2 + 1]
    rows, number = queries.rows(drawn)
    order = list(dict.fromkeys(names))
    assert [names[row] for row in rows] == [order[drawn[n]] for n in number]
    assert number.tolist() == sorted(number.tolist())
    assert len(set(rows.tolist())) == len(rows) == queries.size(drawn)
    assert sorted(rows.tolist()) == [i for i, name in enumerate(names) if name in {order[d] for d in drawn}]


def test_rows_that_name_no_query_are_refused() -> None:
    rows = Split(ids=["a", "b"], x=np.zeros((2, 1)), y=np.zeros(2), columns={GROUP_COLUMN: ["q", ""]})
    with pytest.raises(DataError, match=r"columns\['@group'\]; 1 of 2 rows name one"):
        queries_of(rows)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), most=st.integers(2, 6))
def test_pieces_are_of_whole_queries(sizes: list[int], most: int) -> None:
    number = np.repeat(np.arange(len(sizes)), sizes)
    target = query_target(torch.zeros(len(number)), number)
    pieces = split_queries(torch.zeros(len(number), 2), target, most)
    assert len(pieces) == min(most, len(sizes))
    seen = [set(t[:, 1].tolist()) for _, t in pieces]
    assert sum(map(len, seen)) == len(sizes)
    assert all(len(x) == len(t) > 0 for x, t in pieces)


def one_by_one(name: str, score: torch.Tensor, relevance: torch.Tensor, number: np.ndarray) -> float:
    """By the formulas, a query at a time."""
    total = 0.0
    for query in np.unique(number):
        s, r = score[number == query], relevance[number == query]
        if name == "listwise":
            value = -(torch.softmax(r, 0) * torch.log_softmax(s, 0)).sum()
        else:
            pairs = [(i, j) for i in range(len(s)) for j in range(len(s)) if r[i] > r[j]]
            each = [torch.log1p(torch.exp(-(s[i] - s[j]))) for i, j in pairs]
            value = torch.stack(each).mean() if each else torch.zeros(())
        total += float(value) * len(s)
    return total / len(score)


@pytest.mark.parametrize("name", ["listwise", "pairwise"])
@given(sizes=st.lists(st.integers(1, 6), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_a_ranking_loss_is_that_of_its_formula_and_adds_up_over_shards(name: str, sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    number = np.repeat(np.arange(len(sizes)), sizes)
    score = torch.randn(len(number), 1, generator=generator, requires_grad=True)
    relevance = torch.randint(0, 4, (len(number),), generator=generator).float()
    loss = {"listwise": listwise, "pairwise": pairwise}[name]
    target = query_target(relevance, number)
    whole = loss(score, target)
    assert float(whole) == pytest.approx(one_by_one(name, score.detach()[:, 0], relevance, number), abs=1e-5)
    (gradient,) = torch.autograd.grad(whole, score)
    assert bool(torch.isfinite(gradient).all())
    parts = split_queries(score, target, 3)
    assert float(sum(loss(s, t) * len(t) / len(target) for s, t in parts)) == pytest.approx(float(whole), abs=1e-5)


@pytest.mark.parametrize("loss", [listwise, pairwise])
def test_the_right_order_costs_less_than_the_wrong_one(loss: object) -> None:
    target = query_target(torch.tensor([2.0, 1.0, 0.0]), np.zeros(3, np.int64))
    right, wrong = torch.tensor([3.0, 2.0, 1.0]), torch.tensor([1.0, 2.0, 3.0])
    assert loss(right, target) < loss(wrong, target)  # type: ignore[operator]
