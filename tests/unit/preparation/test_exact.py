"""Sums that do not depend on order, held against Python's own fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.preparation.exact import LARGEST, SMALLEST, UNIT_BITS, ExactSums, Moments
from mlratchet.models.preparation.quantiles import BinnedCounts

numbers = st.floats(min_value=-LARGEST, max_value=LARGEST).filter(lambda x: x == 0 or abs(x) >= SMALLEST)
columns = st.lists(numbers, min_size=1, max_size=60)


@settings(max_examples=100, deadline=None)
@given(columns)
def test_a_sum_is_exact(values: list[float]) -> None:
    sums = ExactSums(1)
    sums.add(np.array([values]))
    assert Fraction(sums.units[0], 1 << UNIT_BITS) == sum(map(Fraction, values))


@settings(max_examples=100, deadline=None)
@given(columns, st.randoms(use_true_random=False), st.integers(0, 60))
def test_moments_are_those_of_fractions_however_the_rows_come(values: list[float], random: object, at: int) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    moments = Moments(1)
    for part in (shuffled[:at], shuffled[at:]):
        moments.add(np.array([part]), np.ones((1, len(part)), dtype=bool))
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    spread = sum((value - mean) ** 2 for value in exact) / len(exact)
    assert moments.means[0] == float(mean)
    assert moments.deviations[0] == math.sqrt(spread)


def test_a_small_spread_beside_a_large_mean_is_not_lost() -> None:
    values = 1e9 + np.arange(100_000) % 2 * 1e-3
    moments = Moments(1)
    moments.add(values[None], np.ones((1, len(values)), dtype=bool))
    assert moments.deviations[0] == pytest.approx(5e-4, rel=1e-3)


def test_what_is_not_given_counts_nowhere() -> None:
    moments = Moments(2)
    moments.add(np.array([[1.0, 9.0, 3.0], [0.0, 0.0, 0.0]]), np.array([[True, False, True], [False] * 3]))
    assert (moments.given_F.tolist(), moments.means.tolist(), moments.deviations.tolist()) == ([2, 0], [2, 0], [1, 0])


def test_merged_moments_are_those_of_all_rows() -> None:
    values = np.random.default_rng(0).normal(size=(3, 500)) * [[1e-9], [1.0], [1e9]]
    given_all = np.ones(values.shape, dtype=bool)
    whole, first, second = Moments(3), Moments(3), Moments(3)
    whole.add(values, given_all)
    first.add(values[:, :123], given_all[:, :123])
    second.add(values[:, 123:], given_all[:, 123:])
    second.merge(first)
    assert (second.means.tolist(), second.deviations.tolist()) == (whole.means.tolist(), whole.deviations.tolist())


def exact_quantile(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values))) - 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50), st.floats(0, 1), st.integers(0, 50))
def test_a_quantile_is_near_the_exact_one_however_the_rows_come(values: list[float], share: float, at: int) -> None:
    counts = BinnedCounts()
    for part in (values[at:], values[:at]):
        counts.add(np.array(part, dtype=np.float64))
    expected = exact_quantile(values, share)
    assert counts.quantile(share) == pytest.approx(expected, rel=2.5e-4, abs=1e-300)
    assert min(values) <= counts.quantile(share) <= max(values)


@given(st.lists(st.integers(-8192, 8192), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_of_small_whole_numbers_is_exact(values: list[int], share: float) -> None:
    counts = BinnedCounts()
    counts.add(np.array(values, dtype=np.float64))
    assert counts.quantile(share) == exact_quantile([float(one) for one in values], share)
