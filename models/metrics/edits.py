"""How far what is said of a row is from what was wanted, in letters: for objectives whose answer is a text.

Shape legend: N rows, K features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.metrics.base import Array, SumMetric, ratio
from mlratchet.models.metrics.rows import RowOutputs


class CharacterErrorRate(SumMetric):
    """Letters to insert, remove and change over the letters that were wanted, of all rows together: above 1 where more
    is said than was wanted. A subclass says which letters an output and a target are. A resample draws whole rows."""

    name, direction, unit = "character_error_rate", "lower", "edits per letter"
    formula = "sum(least insertions + removals + changes) / sum(letters wanted)"
    source = "Levenshtein, Soviet Physics Doklady 10(8), 1966"
    span = (0.0, float("inf"))
    discrete = True

    @abstractmethod
    def said(self, output: Array) -> Sequence[Sequence[Any]]:
        """The letters of each of outputs (N, ...)."""

    @abstractmethod
    def wanted(self, y: Array) -> Sequence[Sequence[Any]]:
        """Those of targets (N, ...)."""

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """The only cause."""
        return "no letter is wanted"

    def features(self, rows: RowOutputs) -> Array:
        """(N, 2) edits, and letters wanted."""
        pairs = zip(self.said(rows.output), self.wanted(rows.y), strict=True)
        return np.asarray([[edits(said, wanted), len(wanted)] for said, wanted in pairs], dtype=np.float64)

    def from_sums(self, sums: Array) -> Array:
        """A quotient."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums_K: Array) -> Array:
        """Of a quotient."""
        return np.asarray(np.array([1.0, -sums_K[0] / sums_K[1]]) / sums_K[1])


def edits(said: Sequence[Any], wanted: Sequence[Any]) -> int:
    """The least insertions, removals and changes that make one of the other (Wagner and Fischer, 1974)."""
    before = list(range(len(wanted) + 1))
    for at, one in enumerate(said, start=1):
        row = [at]
        for place, other in enumerate(wanted):
            row.append(min(row[-1] + 1, before[place + 1] + 1, before[place] + (one != other)))
        before = row
    return before[-1]
