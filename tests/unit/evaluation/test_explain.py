"""Attributions find the inputs that count; their shift is bounded and zero only for the same importances."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.models.evaluation.explain import Attributions, explain, moved_most, sample_rows, shift
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.workloads.base import InputSpec

TABLE = InputSpec(kind="table", shape=(4,), dtype="float32", columns=("a", "b", "c", "d"))
TOKENS = InputSpec(kind="tensor", shape=(6,), dtype="int64")
Rows = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]


def rows(n: int = 80) -> Rows:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (n, 4)).astype(np.float32)
    return x, (x[:, 0] > 3).astype(np.int64)


def uses(*columns: int) -> Any:
    """A classifier that looks at these columns alone."""

    def model(x: torch.Tensor) -> torch.Tensor:
        score = sum(x[:, column] - 3 for column in columns)
        return torch.stack([-score, score], dim=1)  # type: ignore[arg-type]  # a tensor: columns is not empty

    return model


def both(first: Any, second: Any, **more: Any) -> tuple[Attributions, Attributions]:
    x, y = rows()
    models = {"candidate": first, "champion": second}
    found = explain(
        models, Inputs({"x": x}), y, objective=objective_of("classification"), input_spec=TABLE, steps=32, **more
    )
    return found["candidate"], found["champion"]


def test_integrated_gradients_give_the_importance_to_the_inputs_that_are_used() -> None:
    one, other = both(uses(0), uses(0, 2))
    assert one.importance() == pytest.approx([1, 0, 0, 0], abs=1e-6)
    assert other.importance()[[1, 3]] == pytest.approx([0, 0], abs=1e-6)
    assert other.importance()[2] > 0.3
    assert one.completeness < 0.01  # the attributions add up to the change of the log-likelihood
    assert "Integrated Gradients" in one.method


def test_the_attributions_are_those_of_the_definition() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.0]])
    x, _ = rows()
    spec = InputSpec(kind="table", shape=(4,), dtype="float32", columns=TABLE.columns)
    found = explain(
        {"m": lambda v: v @ weight.T},
        Inputs({"x": x}),
        x[:, 0],
        objective=objective_of("regression"),
        input_spec=spec,
        steps=8,
    )["m"]
    assert found.values == pytest.approx((x - x.mean(axis=0)) * weight.numpy(), abs=1e-4)


def test_the_shift_is_0_for_the_same_model_and_1_for_nothing_in_common() -> None:
    same = shift(*both(uses(0, 1), uses(0, 1)), seed=0)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    apart = shift(*both(uses(0), uses(2)), seed=0)
    assert apart.value == pytest.approx(1.0, abs=1e-6)
    part = shift(*both(uses(0), uses(0, 2)), seed=0)
    assert 0.3 < part.low <= part.value <= part.high < 0.7
    assert part == shift(*both(uses(0), uses(0, 2)), seed=0)
    assert moved_most(*both(uses(0), uses(2)), TABLE.columns, count=2) == "a 0.000 -> 1.000, c 1.000 -> 0.000"


def test_a_program_without_gradients_and_tokens_are_explained_by_ablation() -> None:
    def rounded(x: torch.Tensor) -> torch.Tensor:
        return uses(1)(torch.from_numpy(np.asarray(x.detach().tolist(), dtype=np.float32)))  # type: ignore[no-any-return]

    one, other = both(rounded, uses(1))
    assert one.method == other.method == "feature ablation of 4 groups"
    assert one.importance() == pytest.approx([0, 1, 0, 0], abs=1e-6)
    x = np.random.default_rng(1).integers(1, 9, (40, 6)).astype(np.int64)
    tokens = explain(
        {"m": lambda v: v[:, 4].float()},
        Inputs({"x": x}),
        x[:, 0].astype(np.float32),
        objective=objective_of("ranking"),
        input_spec=TOKENS,
        steps=8,
    )["m"]
    assert tokens.importance() == pytest.approx([0, 0, 0, 0, 1, 0])


def test_many_input_values_are_ablated_in_groups_whose_effect_is_spread() -> None:
    x = np.ones((10, 1, 16, 16), dtype=np.int64)
    spec = InputSpec(kind="tensor", shape=(1, 16, 16), dtype="int64")
    y = np.zeros(10, np.float32)
    found = explain(
        {"m": lambda v: v[:, 0, 0, :4].float().sum(dim=1)},
        Inputs({"x": x}),
        y,
        objective=objective_of("regression"),
        input_spec=spec,
        steps=8,
    )["m"]
    assert found.values[:, 0, 0, :4].sum(axis=1) == pytest.approx([4.0] * 10)
    assert found.importance()[:4].sum() == pytest.approx(1.0)


def test_multi_label_rows_are_explained_by_the_likelihood_of_their_labels() -> None:
    x, _ = rows()
    y = np.stack([x[:, 0] > 3, x[:, 1] > 3], axis=1).astype(np.float32)
    found = explain(
        {"m": lambda v: v[:, :2] - 3},
        Inputs({"x": x}),
        y,
        objective=objective_of("multi_label"),
        input_spec=TABLE,
        steps=32,
    )["m"]
    assert found.importance()[:2].sum() == pytest.approx(1.0)


def test_attributions_that_are_not_finite_have_no_shift() -> None:
    one, other = both(uses(0), uses(0))
    broken = Attributions(values=one.values * np.nan, method=one.method, completeness=0.0)
    assert np.isnan(shift(broken, other, seed=0).value)
    with pytest.raises(ValueError, match="feature ablation"):
        shift(one, Attributions(values=one.values, method="feature ablation", completeness=0.0), seed=0)


def test_a_sample_is_drawn_by_seed() -> None:
    split = Split(ids=[str(i) for i in range(50)], x=np.zeros((50, 1)), y=np.zeros(50))
    first = sample_rows(split, 10, 3)
    assert len(set(first.tolist())) == 10
    assert np.array_equal(first, sample_rows(split, 10, 3))
    assert not np.array_equal(first, sample_rows(split, 10, 4))
    assert len(sample_rows(split, 80, 3)) == 50
