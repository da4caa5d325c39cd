"""Numbers, held against what NumPy says of the same columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.numbers import NumberPreparation, NumericOptions
from mlratchet.models.schema.fields import Field
from pydantic import ValidationError

NULLABLE, GIVEN = Field(kind="number", nullable=True), Field(kind="number")


def prepared(
    values: list[Any], options: dict[str, Any], field: Field = NULLABLE, asked: list[Any] | None = None
) -> Any:
    """(N, C), fitted on `values`."""
    one = NumberPreparation({"x": field}, NumericOptions(**options))
    state = one.fit(lambda: iter([pa.table({"x": pa.array(values, pa.float64())})]))
    return one.apply(pa.table({"x": pa.array(asked if asked is not None else values, pa.float64())}), state).array


def test_a_column_has_mean_0_and_deviation_1() -> None:
    values = np.random.default_rng(0).normal(50, 7, 500)
    found = prepared(values.tolist(), {}, GIVEN)
    assert found[:, 0] == pytest.approx((values - values.mean()) / values.std(), rel=1e-6)
    assert found.shape == (500, 1)


def test_a_gap_is_the_median_and_says_so() -> None:
    found = prepared([1.0, 2.0, 9.0, None], {"scale": "none"})
    assert found.tolist() == [[1, 0], [2, 0], [9, 0], [2, 1]]


@pytest.mark.parametrize(("impute", "fill"), [("mean", 4.0), (7.0, 7.0), (-1, -1.0)])
def test_a_gap_can_be_the_mean_or_a_constant(impute: Any, fill: float) -> None:
    assert prepared([1.0, 2.0, 9.0, None], {"impute": impute, "scale": "none"})[3, 0] == fill


def test_an_indicator_is_as_the_options_say() -> None:
    assert prepared([1.0, None], {"indicator": False}).shape == (2, 1)
    assert prepared([1.0, 2.0], {"indicator": True}, GIVEN).shape == (2, 2)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 1e200])
def test_what_is_no_number_that_can_be_used_is_not_given(value: float) -> None:
    assert prepared([1.0, 2.0, 9.0, value], {"scale": "none"})[3].tolist() == [2, 1]


def test_a_gap_where_the_schema_has_none_is_refused_with_its_place() -> None:
    one = NumberPreparation({"x": GIVEN, "y": GIVEN}, NumericOptions())
    rows = pa.table({"x": [1.0, 2.0], "y": [1.0, 2.0], "@where": ["a.csv:1", "a.csv:2"]})
    state = one.fit(lambda: iter([rows]))
    with pytest.raises(DataError, match=r"^a.csv:2: field 'y' is not given; .*nullable: true"):
        one.apply(rows.set_column(1, "y", pa.array([1.0, None])), state)


def test_a_constant_column_is_0_whatever_comes_later() -> None:
    assert prepared([5.0] * 4, {}, GIVEN, asked=[5.0, 1e9, -3.0])[:, 0].tolist() == [0, 0, 0]


def test_a_column_of_gaps_alone_is_0() -> None:
    assert prepared([None, None], {}).tolist() == [[0, 1], [0, 1]]
    assert prepared([None, None], {}, asked=[3.0]).tolist() == [[0, 0]]


def test_tails_are_cut_at_the_quantiles_and_moments_are_of_what_was_cut() -> None:
    values = [*map(float, range(1, 100)), 1e9]
    clipped = np.clip(values, 10, 90)
    found = prepared(values, {"clip": [0.1, 0.9]}, GIVEN)
    assert found[:, 0] == pytest.approx((clipped - clipped.mean()) / clipped.std(), rel=1e-6)


def test_robust_is_by_median_and_quartiles() -> None:
    values = [*map(float, range(1, 101)), 1e7]
    found = prepared(values, {"scale": "robust", "limit": None}, GIVEN)
    assert found[:, 0] == pytest.approx((np.array(values) - 51) / (50 / 1.3489795), rel=1e-6)


def test_a_logarithm_has_the_sign_of_its_number() -> None:
    found = prepared([-10.0, 0.0, 10.0, 1e6], {"log": True, "scale": "none"}, GIVEN)
    assert found[:, 0] == pytest.approx([-np.log(11), 0, np.log(11), np.log(1e6 + 1)])


def test_an_outlier_is_cut_at_the_limit() -> None:
    assert prepared([1.0, 2.0, 3.0], {}, GIVEN, asked=[1e149, -1e149])[:, 0].tolist() == [1000, -1000]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.none() | st.floats(), min_size=1, max_size=30),
    st.lists(st.none() | st.floats(), min_size=1, max_size=30),
    st.fixed_dictionaries(
        {
            "impute": st.sampled_from(["median", "mean", 3.5]),
            "log": st.booleans(),
            "clip": st.sampled_from([None, (0.1, 0.9)]),
            "scale": st.sampled_from(["standard", "robust", "none"]),
            "limit": st.sampled_from([None, 5.0]),
        }
    ),
)
def test_whatever_a_column_holds_becomes_finite_and_the_same_alone(
    values: list[Any], asked: list[Any], options: dict[str, Any]
) -> None:
    one = NumberPreparation({"x": NULLABLE}, NumericOptions(**options))
    state = one.fit(lambda: iter([pa.table({"x": pa.array(values, pa.float64())})]))
    rows = pa.table({"x": pa.array(asked, pa.float64())})
    together = one.apply(rows, state).array
    assert np.isfinite(together).all()
    alone = [one.apply(rows.slice(at, 1), state).array.tobytes() for at in range(len(asked))]
    assert alone == [row.tobytes() for row in together]


def test_a_value_that_is_not_scaled_is_not_cut() -> None:
    assert prepared([1.0, 5e6], {"scale": "none"}, GIVEN)[:, 0].tolist() == [1, 5e6]


def test_fields_come_first_then_their_indicators() -> None:
    one = NumberPreparation({"x": NULLABLE, "y": GIVEN, "z": NULLABLE}, NumericOptions())
    state = one.fit(lambda: iter([pa.table({name: [1.0, 2.0] for name in "xyz"})]))
    assert [feature.name for feature in one.features(state)] == ["x", "y", "z", "x is not given", "z is not given"]
    assert one.tensors(state)[0].shape == (5,)


@pytest.mark.parametrize("clip", [[0.9, 0.1], [-0.1, 0.5], [0.5, 0.5], [0.5]])
def test_quantiles_that_are_none_are_refused(clip: Any) -> None:
    with pytest.raises(ValidationError):
        NumericOptions(clip=clip)
