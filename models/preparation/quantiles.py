"""Quantiles of a column in one reading: values are counted in bins of 1/4096 of an octave.

A quantile is exact for whole numbers up to 8192 and for whatever 13 binary digits hold; another is cut to 13 of them,
towards zero, so it is off by less than 0.025 %. Counts do not depend on the order of rows or on pieces.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

DIGITS = 12  # of the mantissa
PER_OCTAVE = 1 << DIGITS
SHIFT = 52 - DIGITS

Array = np.ndarray[Any, Any]


class BinnedCounts:
    """How often which values occur; 32 KB per octave and sign that occurs."""

    def __init__(self) -> None:
        self.count = 0
        self._low, self._high = math.inf, -math.inf
        self._octaves: dict[tuple[bool, int], Array] = {}  # (negative, exponent) -> counts

    def add(self, values: Array) -> None:
        """Finite values, (N,) float64."""
        if not len(values):
            return
        self.count += len(values)
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        negative = values < 0
        for sign, part in ((False, values[~negative]), (True, values[negative])):
            if len(part):
                self._count(sign, np.abs(part).view(np.int64) >> SHIFT)

    def _count(self, sign: bool, keys: Array) -> None:
        first = int(keys.min()) >> DIGITS
        counts = np.bincount(keys - (first << DIGITS))
        counts = np.pad(counts, (0, -len(counts) % PER_OCTAVE)).reshape(-1, PER_OCTAVE)
        for at in np.flatnonzero(counts.any(axis=1)).tolist():
            held = self._octaves.setdefault((sign, first + at), np.zeros(PER_OCTAVE, dtype=np.int64))
            held += counts[at]

    def quantile(self, share: float) -> float:
        """The smallest value that `share` of all do not exceed (inverse of the empirical distribution); 0 of none."""
        if not self.count:
            return 0.0
        wanted = max(1, math.ceil(share * self.count))
        seen = 0
        for sign, octave in sorted(self._octaves, key=lambda one: (not one[0], -one[1] if one[0] else one[1])):
            counts = self._octaves[sign, octave]
            if seen + int(counts.sum()) < wanted:
                seen += int(counts.sum())
                continue
            in_order = counts[::-1] if sign else counts
            at = int(np.searchsorted(np.cumsum(in_order), wanted - seen))
            key = (octave << DIGITS) + (PER_OCTAVE - 1 - at if sign else at)
            size = float(np.array(key << SHIFT, dtype=np.int64).view(np.float64))
            return min(max(-size if sign else size, self._low), self._high)
        return self._high
