"""The sketch of a column of numbers: counts in bins that are finer towards the middle, and exact moments.

A bin is what the first bits of a float say of (value - centre) / scale: its sign, its exponent and five bits of its
mantissa. So a bin is a 32nd of its octave wide, 256 scales are reached on both sides, and no value is compared with
any edge. Counts are added when sketches are merged: the same rows give the same counts in any order and any pieces.

Shape legend: N values, B bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MANTISSA = 5  # bits
OCTAVES = 16
SMALLEST = 2.0**-8  # of a scale; nearer to the centre is one bin on each side
SIDE = OCTAVES << MANTISSA  # bins on one side of the centre
SHIFT = 23 - MANTISSA  # of a float32
PIECE = 65_536  # values at a time: they stay in the processor's cache
FIRST = 10_000  # values that a centre and a scale are taken from


def _bits(values: Array) -> Array:
    return np.asarray(values, dtype=np.float32).view(np.int32) >> SHIFT


LOWEST = int(_bits(np.asarray([SMALLEST]))[0])
LARGEST = np.float32(SMALLEST * 2.0**OCTAVES * (1 - 2.0**-20))


def _middles() -> Array:
    """(B,) middles of the bins, in scales from the centre, ascending."""
    edges = ((LOWEST + np.arange(SIDE + 1)) << SHIFT).astype(np.int32).view(np.float32).astype(np.float64)
    side = (edges[1:] + edges[:-1]) / 2
    side[0] = 0.0  # all that is nearer
    return np.concatenate([-side[::-1], side])


MIDDLES_B = _middles()


class NumberSketch:
    """Of numbers, and of times as numbers."""

    form = "numbers"

    def __init__(self, *, centre: float, scale: float) -> None:
        if not (math.isfinite(centre) and math.isfinite(scale) and scale > 0):
            raise ValueError(f"centre must be finite and scale positive, got {centre} and {scale}")
        self.centre, self.scale = centre, scale
        self.rows = self.missing = self.infinite = 0
        self.minimum, self.maximum = math.inf, -math.inf
        self._sum = self._squares = 0.0  # of value - centre
        self.counts = np.zeros(2 * SIDE, dtype=np.int64)
        """(B,)."""

    @classmethod
    def fitted(cls, values: Any) -> NumberSketch:
        """An empty one whose bins suit (N,) values: finest at their median, in units of their middle half."""
        found = np.asarray(values, dtype=np.float64)
        found = found[:: max(1, len(found) // FIRST)]
        found = found[np.isfinite(found)]
        if not len(found):
            return cls(centre=0.0, scale=1.0)
        low, middle, high = (float(one) for one in np.quantile(found, [0.25, 0.5, 0.75]))
        return cls(centre=middle, scale=(high - low) or float(np.ptp(found)) or abs(middle) or 1.0)

    def like(self) -> NumberSketch:
        """An empty one with the same bins: what is to be merged, or compared at its finest, has to have them."""
        return NumberSketch(centre=self.centre, scale=self.scale)

    def update(self, values: Any) -> None:
        """Take up (N,) numbers; NaN is missing."""
        found = np.asarray(values)
        if found.ndim != 1:
            raise ValueError(f"expected a row of numbers, got shape {found.shape}")
        if found.dtype not in (np.float32, np.float64):
            found = found.astype(np.float64)
        for start in range(0, len(found), PIECE):
            self._take(found[start : start + PIECE])

    def _take(self, piece: Array) -> None:
        self.rows += len(piece)
        moved = np.subtract(piece, self.centre, dtype=np.float64)
        total = float(moved.sum())
        if not math.isfinite(total):  # seldom: then look at each
            missing = np.isnan(moved)
            self.missing += int(missing.sum())
            moved = moved[~missing]
            endless = np.isinf(moved)
            self.infinite += int(endless.sum())
            finite = moved[~endless]
            total = float(finite.sum())
        else:
            finite = moved
        if len(finite):
            self._sum += total
            self._squares += float(np.dot(finite, finite))
            self.minimum = min(self.minimum, float(finite.min()) + self.centre)
            self.maximum = max(self.maximum, float(finite.max()) + self.centre)
        with np.errstate(over="ignore"):
            scaled = (moved * (1.0 / self.scale)).astype(np.float32)
        size = np.abs(scaled)
        np.clip(size, np.float32(SMALLEST), LARGEST, out=size)
        place = size.view(np.int32)
        place >>= SHIFT
        place -= LOWEST
        # the sign bit is -1 below zero: ~place counts down from -1
        place ^= scaled.view(np.int32) >> 31
        place += SIDE
        self.counts += np.bincount(place, minlength=2 * SIDE)

    def merge(self, other: NumberSketch) -> None:
        """Take up all that another has. Raises ``ValueError`` for other bins."""
        if (self.centre, self.scale) != (other.centre, other.scale):
            raise ValueError(
                f"sketches of other bins cannot be merged: centre and scale {self.centre:g}, {self.scale:g} and "
                f"{other.centre:g}, {other.scale:g}; make one `like` the other"
            )
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.infinite += other.infinite
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self._sum, self._squares = self._sum + other._sum, self._squares + other._squares
        self.counts = self.counts + other.counts

    @property
    def n(self) -> int:
        """Values that are there."""
        return self.rows - self.missing

    @property
    def mean(self) -> float:
        """Of the finite values; NaN without any."""
        finite = self.n - self.infinite
        return self.centre + self._sum / finite if finite else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of the finite values; NaN without any."""
        finite = self.n - self.infinite
        if not finite:
            return math.nan
        return math.sqrt(max(0.0, self._squares / finite - (self._sum / finite) ** 2))

    @property
    def places(self) -> Array:
        """(B,) values that stand for the bins, ascending; never beyond the smallest and largest value."""
        found = self.centre + self.scale * MIDDLES_B
        return np.clip(found, self.minimum, self.maximum) if self.minimum <= self.maximum else found

    def quantile(self, level: float) -> float:
        """The value below which a share lies, as finely as the bins are; NaN without values."""
        if not self.n:
            return math.nan
        place = int(np.searchsorted(np.cumsum(self.counts), level * self.n, side="left"))
        return float(self.places[min(place, 2 * SIDE - 1)])

    def to_json(self) -> dict[str, Any]:
        """As JSON values, some 5 KB: bins that hold something, as runs of counts."""
        held = np.flatnonzero(self.counts)
        return {
            "form": self.form, "centre": self.centre, "scale": self.scale, "rows": self.rows, "missing": self.missing,
            "infinite": self.infinite, "minimum": self.minimum if self.n > self.infinite else None,
            "maximum": self.maximum if self.n > self.infinite else None, "sum": self._sum, "squares": self._squares,
            "bins": held.tolist(), "counts": self.counts[held].tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> NumberSketch:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        found = cls(centre=state["centre"], scale=state["scale"])
        found.rows, found.missing, found.infinite = (int(state[name]) for name in ("rows", "missing", "infinite"))
        found.minimum = math.inf if state["minimum"] is None else float(state["minimum"])
        found.maximum = -math.inf if state["maximum"] is None else float(state["maximum"])
        found._sum, found._squares = float(state["sum"]), float(state["squares"])
        found.counts[np.asarray(state["bins"], dtype=int)] = np.asarray(state["counts"], dtype=np.int64)
        if int(found.counts.sum()) != found.n or (found.counts < 0).any():
            raise ValueError(f"sketch of numbers: {int(found.counts.sum())} counts of {found.n} values")
        return found
