"""Two shares over the same rows: the stated error by enumeration of every table, not by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.evaluation.statistics.exact_pairs import ExactPairs, paired_share
from scipy.stats import binom

ALPHA = 0.05


def error_rate(n: int, disagreement: float, gain: float) -> float:
    """How often the lower bound lies above a true gain: every table that occurs, with its probability."""
    share, wrong = (disagreement + gain) / 2 / disagreement, 0.0
    for changed in range(n + 1):
        weight = binom.pmf(changed, n, disagreement)
        if weight > 1e-7:
            for gained in range(changed + 1):
                chance = weight * binom.pmf(gained, changed, share)
                if chance > 1e-8:
                    wrong += chance * (paired_share(gained, changed - gained, n).p_greater(gain) < ALPHA)
    return float(wrong)


@pytest.mark.parametrize(
    ("n", "disagreement"), [(30, 0.1), (30, 0.2), (50, 0.1), (100, 0.04), (200, 0.02), (200, 0.04), (500, 0.02)]
)
def test_the_error_is_as_stated_whatever_part_of_the_disagreements_is_gained(n: int, disagreement: float) -> None:
    for part in (-1.0, -0.5, 0.0, 0.5, 0.9, 1.0):
        assert error_rate(n, disagreement, part * disagreement) <= ALPHA + 0.0025, part


@given(n=st.integers(5, 400), data=st.data())
def test_bounds_hold_the_estimate_mirror_and_are_where_the_tail_is_alpha(n: int, data: st.DataObject) -> None:
    gained = data.draw(st.integers(0, min(n, 60)))
    lost = data.draw(st.integers(0, min(n - gained, 60)))
    found, mirrored = paired_share(gained, lost, n), paired_share(lost, gained, n)
    low, high = found.low(ALPHA), found.high(ALPHA)
    assert -1 <= low <= (gained - lost) / n <= high <= 1
    assert (mirrored.low(ALPHA), mirrored.high(ALPHA)) == pytest.approx((-high, -low), abs=1e-6)
    assert found.p_greater(low - 1e-6) <= ALPHA + 0.001
    assert found.p_less(high + 1e-6) <= ALPHA + 0.001


def test_without_a_disagreement_the_bound_is_that_of_a_binomial_without_a_failure() -> None:
    found = paired_share(0, 0, 360)
    assert found.low(ALPHA) == pytest.approx(-(1 - ALPHA ** (1 / 360)), abs=1e-6)
    assert found.high(ALPHA) == pytest.approx(1 - ALPHA ** (1 / 360), abs=1e-6)


def test_many_disagreements_are_left_to_the_normal_tail_which_is_near() -> None:
    assert not isinstance(paired_share(60, 41, 2000), ExactPairs)
    exact, normal = paired_share(60, 40, 2000), paired_share(60, 41, 2000)
    assert np.allclose([exact.low(ALPHA), exact.high(ALPHA)], [normal.low(ALPHA), normal.high(ALPHA)], atol=8e-4)


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 <= gained"):
        paired_share(3, 3, 5)
