"""Sums, means and deviations of columns that do not depend on the order of rows, nor on how they are cut into pieces.

Every sum is exact: parts of the values that can be added without rounding are split off and added as whole numbers of
2**-1074 (error-free vector extraction: Rump, Ogita, Oishi, "Accurate floating-point summation", SIAM J. Sci. Comput.
31, 2008; exact squares: Dekker, Numer. Math. 18, 1971). One rounding comes at the end.

Shape legend: F columns, N rows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LARGEST = 1e150  # beyond it a square overflows: such a value counts as not given
SMALLEST = 1e-140  # below it a square is not exact: such a value counts as 0
UNIT_BITS = 1074  # every float64 is a whole number of 2**-1074
LEAST_ROWS, BLOCK = 1024, 65_536  # of a step: so many rows, and values that stay in the cache
SPLITTER = 134_217_729.0  # 2**27 + 1

Array = np.ndarray[Any, Any]


class ExactSums:
    """F sums."""

    def __init__(self, columns: int) -> None:
        self.units = [0] * columns  # of 2**-1074

    def add(self, x_FN: Array) -> None:
        """Finite values below 2**1000."""
        rest_FN = np.array(x_FN)
        room = (x_FN.shape[1] + 2).bit_length()
        while True:
            top_F = np.abs(rest_FN).max(axis=1, initial=0.0)
            if not top_F.any():
                return
            grid_F1 = np.where(top_F > 0, np.ldexp(1.0, np.frexp(top_F)[1] + room), 0.0)[:, None]
            part_FN = (rest_FN + grid_F1) - grid_F1  # multiples of the grid's last bit: their sum is exact
            rest_FN -= part_FN
            for at, value in enumerate(part_FN.sum(axis=1).tolist()):
                top, bottom = value.as_integer_ratio()
                self.units[at] += top << (UNIT_BITS + 1 - bottom.bit_length())

    def merge(self, other: ExactSums) -> None:
        """Add the sums of another."""
        self.units = [ours + theirs for ours, theirs in zip(self.units, other.units, strict=True)]


class Moments:
    """Counts, means and standard deviations of F columns, where given."""

    def __init__(self, columns: int) -> None:
        self.given_F = np.zeros(columns, dtype=np.int64)
        self._sums = ExactSums(columns)
        self._squares = ExactSums(columns)

    def add(self, x_FN: Array, given_FN: Array) -> None:
        """Values up to `LARGEST`, where `given_FN` says so."""
        self.given_F += given_FN.sum(axis=1)
        step = max(LEAST_ROWS, BLOCK // max(1, len(x_FN)))
        for at in range(0, x_FN.shape[1], step):
            part = slice(at, at + step)
            used_FN = given_FN[:, part] & (np.abs(x_FN[:, part]) >= SMALLEST)
            values_FN = np.where(used_FN, x_FN[:, part], 0.0)
            square_FN, error_FN = _squared(values_FN)
            self._sums.add(values_FN)
            self._squares.add(square_FN)
            self._squares.add(error_FN)

    def merge(self, other: Moments) -> None:
        """Take in what another has seen: exactly as if all of it were added here."""
        self.given_F += other.given_F
        self._sums.merge(other._sums)
        self._squares.merge(other._squares)

    @property
    def means(self) -> Array:
        """Correctly rounded; 0 where nothing is given."""
        pairs = zip(self._sums.units, self.given_F.tolist(), strict=True)
        return np.array([total / (count << UNIT_BITS) if count else 0.0 for total, count in pairs])

    @property
    def deviations(self) -> Array:
        """Of all given values (the divisor is their number); 0 where they are equal, or nothing is given."""
        found = []
        for total, squares, count in zip(self._sums.units, self._squares.units, self.given_F.tolist(), strict=True):
            spread = ((count * squares) << UNIT_BITS) - total * total  # in units of 2**-2148, times count**2
            found.append(math.sqrt(spread / ((count * count) << (2 * UNIT_BITS))) if count else 0.0)
        return np.array(found)


def _squared(x: Array) -> tuple[Array, Array]:
    """The rounded square, and exactly what the rounding took away."""
    square = x * x
    wide = SPLITTER * x
    high = wide - (wide - x)
    low = x - high
    return square, ((high * high - square) + 2.0 * (high * low)) + low * low
