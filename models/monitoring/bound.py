"""The interval of a mean of bounded losses that holds however often it is looked at.

Source: Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86.

Shape legend: T rows in the order of their requests, C cells of candidate means.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CELLS = 1000  # of candidate means; an interval ends at the end of a cell
CHUNK = 4_000_000  # numbers of one intermediate table


def row_within(values: Any, lowest: float, highest: float) -> Array:
    """(T,) values on the scale from 0 to 1. Raises ``ValueError`` for such out of [lowest, highest] or not finite."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise ValueError(f"expected a row of values, got shape {found.shape}")
    if len(found) and not (lowest <= found.min() and found.max() <= highest):
        raise ValueError(f"values must lie within [{lowest:g}, {highest:g}], got {found.min():g} to {found.max():g}")
    return (found - lowest) / (highest - lowest)


class Bound:
    """An interval of the mean of values within [lowest, highest] that holds at every moment at once.

    With probability `confidence` the mean lies in every interval that is ever shown, whatever the distribution,
    provided that each value has the same mean given those before it. Candidates stand in cells; a cell is ruled out,
    for good, when the capital of a bet against every mean in it has grown by 1 / (1 - confidence).
    """

    def __init__(self, *, confidence: float = 0.95, lowest: float = 0.0, highest: float = 1.0) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        if not lowest < highest:
            raise ValueError(f"lowest must be below highest, got {lowest:g} and {highest:g}")
        self.confidence, self.lowest, self.highest = confidence, lowest, highest
        self.n, self._sum, self._deviation = 0, 0.0, 0.0
        self._cells = np.arange(CELLS)
        self._up, self._down = np.zeros(CELLS), np.zeros(CELLS)  # logarithms of the capitals

    @property
    def mean(self) -> float:
        """Of all values; NaN before the first."""
        return self.lowest + (self.highest - self.lowest) * self._sum / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, in the unit of the values."""
        span = self.highest - self.lowest
        return self.lowest + span * self._cells[0] / CELLS, self.lowest + span * (self._cells[-1] + 1) / CELLS

    def update(self, values_T: Any) -> tuple[float, float]:
        """Take up values in the order of their rows; the interval after them. Raises ``ValueError`` for values out of
        their bounds or not finite."""
        x_T = row_within(values_T, self.lowest, self.highest)
        start = 0
        while start < len(x_T):
            # few rows at first: a table of all of them by all cells would hold cells that are ruled out soon
            rows = min(max(64, self.n), max(1, CHUNK // len(self._cells)))
            self._bet(x_T[start : start + rows])
            start += rows
        return self.interval

    def _bet(self, x_T: Array) -> None:
        n_T = self.n + np.arange(1, len(x_T) + 1)
        mean_T = (0.5 + self._sum + np.cumsum(x_T)) / (n_T + 1)
        variance_T = (0.25 + self._deviation + np.cumsum((x_T - mean_T) ** 2)) / (n_T + 1)
        mean, variance = (0.5 + self._sum) / (self.n + 1), (0.25 + self._deviation) / (self.n + 1)
        before_T, spread_T = np.append(mean, mean_T[:-1]), np.append(variance, variance_T[:-1])
        low_C, high_C = self._cells / CELLS, (self._cells + 1) / CELLS
        gap_TC = before_T[:, None] - (low_C + high_C) / 2
        bet_TC = gap_TC / (spread_T[:, None] + gap_TC**2)
        # one bet for all means of a cell: the capital against the upper end is then the least of those upwards
        up_TC = np.log1p(np.clip(bet_TC, 0, 1 / (2 * high_C)) * (x_T[:, None] - high_C))
        down_TC = np.log1p(-np.clip(-bet_TC, 0, 1 / (2 * (1 - low_C))) * (x_T[:, None] - low_C))
        up_TC, down_TC = self._up + np.cumsum(up_TC, axis=0), self._down + np.cumsum(down_TC, axis=0)
        most_C = np.logaddexp(up_TC, down_TC).max(axis=0) - math.log(2)
        kept = np.flatnonzero(most_C < -math.log(1 - self.confidence))
        if not len(kept):  # the mean was not the same throughout; the cell that is least ruled out is what is left
            kept = np.asarray([int(np.argmin(most_C))])
        span = slice(kept[0], kept[-1] + 1)  # the hull
        self._cells, self._up, self._down = self._cells[span], up_TC[-1][span], down_TC[-1][span]
        self._deviation += float(((x_T - mean_T) ** 2).sum())
        self._sum += float(x_T.sum())
        self.n += len(x_T)

    def to_json(self) -> dict[str, Any]:
        """All that a later window needs to go on, as JSON values: at most some 40 KB, a few after some hundred rows."""
        return {
            "confidence": self.confidence, "lowest": self.lowest, "highest": self.highest, "n": self.n,
            "sum": self._sum, "deviation": self._deviation, "cell": int(self._cells[0]),
            "up": self._up.tolist(), "down": self._down.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Bound:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        found = cls(confidence=state["confidence"], lowest=state["lowest"], highest=state["highest"])
        found.n, found._sum, found._deviation = int(state["n"]), float(state["sum"]), float(state["deviation"])
        found._up, found._down = np.asarray(state["up"], dtype=float), np.asarray(state["down"], dtype=float)
        found._cells = int(state["cell"]) + np.arange(len(found._up))
        inside = len(found._cells) and found._cells[0] >= 0 and found._cells[-1] < CELLS
        if len(found._up) != len(found._down) or not inside:
            raise ValueError(f"state of a bound: {len(found._up)} and {len(found._down)} cells from {state['cell']}")
        return found
