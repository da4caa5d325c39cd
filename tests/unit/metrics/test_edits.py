"""The character error rate of known texts, its interval over examples, and the distance of two texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.metrics.edits import CharacterErrorRate, edits
from mlratchet.models.metrics.rows import RowOutputs

TEXTS = st.text("abc", max_size=6)


class OfCodes(CharacterErrorRate):
    """Outputs and targets are codes; -1 fills up."""

    def said(self, output: np.ndarray[Any, Any]) -> Sequence[Sequence[Any]]:
        return [[int(one) for one in row if one >= 0] for row in output]

    def wanted(self, y: np.ndarray[Any, Any]) -> Sequence[Sequence[Any]]:
        return self.said(y)


def rows(said: list[list[int]], wanted: list[list[int]]) -> RowOutputs:
    output, y = (np.asarray([[*one, *[-1] * (4 - len(one))] for one in some], float) for some in (said, wanted))
    return RowOutputs(ids=[str(at) for at in range(len(said))], y=y, output=output)


@pytest.mark.parametrize(
    ("said", "wanted", "count"),
    [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("abab", "baba", 2)],
)
def test_the_least_edits_of_textbook_pairs(said: str, wanted: str, count: int) -> None:
    assert edits(said, wanted) == count


@given(TEXTS, TEXTS, TEXTS)
def test_edits_are_a_distance(a: str, b: str, c: str) -> None:
    assert edits(a, b) == edits(b, a)
    assert (edits(a, b) == 0) == (a == b)
    assert edits(a, c) <= edits(a, b) + edits(b, c)
    assert abs(len(a) - len(b)) <= edits(a, b) <= max(len(a), len(b))


def test_letters_of_all_rows_count_alike_and_a_row_is_what_is_drawn() -> None:
    found = rows([[1, 2, 3, 4], [1], [2, 2]], [[1, 2, 3, 4], [2], [2]])
    metric = OfCodes()
    assert metric.value(found) == pytest.approx(2 / 6)  # of four letters none, of one one, one too many
    np.testing.assert_allclose(
        metric.weighted(found, np.asarray([[1.0, 1, 1], [1, 0, 0], [0, 2, 1]])), [2 / 6, 0, 3 / 3]
    )
    assert metric.influence(found).mean() == pytest.approx(0.0, abs=1e-9)
    assert metric.estimate(found).n == 3


def test_more_said_than_wanted_is_above_one_and_nothing_wanted_is_undefined() -> None:
    assert OfCodes().value(rows([[1, 2, 3]], [[4]])) == 3.0
    found = OfCodes().estimate(rows([[1]], [[]]))
    assert np.isnan(found.value)
    assert "no letter is wanted" in found.reason
