"""The sketch of vectors, such as the log's `prepared` projection of a text, a picture or a sound: a random sample of
bounded size, and exact moments.

A row is in the sample when the hash of its content and place is among the smallest (a bottom-k sample: Cohen and
Kaplan 2007), so that samples of two pieces give that of both.

Shape legend: N rows, D numbers a row, S rows of the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SAMPLE = 1024  # rows
BEFORE = 512  # of sketches that do not say how many


class VectorSketch:
    """Of rows of D numbers, as float32."""

    form = "vectors"

    def __init__(self, *, size: int, most: int = SAMPLE) -> None:
        """`most`: rows of the sample."""
        if size < 1:
            raise ValueError(f"size must be 1 or more, got {size}")
        self.size, self.most, self.rows, self.missing = size, most, 0, 0
        self._hashes = np.zeros(0, dtype=np.uint64)
        self.sample = np.zeros((0, size), dtype=np.float32)
        """(S, D)."""
        self.sums, self.squares = np.zeros(size), np.zeros(size)
        """(D,) of all rows."""

    def like(self) -> VectorSketch:
        """An empty one of the same size."""
        return VectorSketch(size=self.size, most=self.most)

    @property
    def n(self) -> int:
        """Rows that are there."""
        return self.rows - self.missing

    def update(self, rows_ND: Any) -> None:
        """Take up (N, D) numbers; a row with a NaN is missing."""
        found = np.ascontiguousarray(rows_ND, dtype=np.float32)
        if found.ndim != 2 or found.shape[1] != self.size:
            raise ValueError(f"expected rows of {self.size} numbers, got shape {found.shape}")
        there = np.isfinite(found).all(axis=1)
        hashes = _hashes(found, self.rows)
        self.rows, self.missing = self.rows + len(found), self.missing + int((~there).sum())
        kept = found[there].astype(np.float64)
        self.sums, self.squares = self.sums + kept.sum(axis=0), self.squares + (kept**2).sum(axis=0)
        self._keep(hashes[there], found[there])

    def _keep(self, hashes: Array, rows: Array) -> None:
        every, sample = np.concatenate([self._hashes, hashes]), np.concatenate([self.sample, rows])
        order = np.argsort(every, kind="stable")[: self.most]
        self._hashes, self.sample = every[order], sample[order]

    def merge(self, other: VectorSketch) -> None:
        """Take up all that another has. Raises ``ValueError`` for rows of another size, or another size of sample."""
        if (self.size, self.most) != (other.size, other.most):
            raise ValueError(
                f"rows of {self.size} and of {other.size} numbers, in samples of {self.most} and {other.most}, "
                "cannot be merged"
            )
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.sums, self.squares = self.sums + other.sums, self.squares + other.squares
        self._keep(other._hashes, other.sample)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        most = {"most": self.most} if self.most != BEFORE else {}
        return {
            "form": self.form, "size": self.size, **most, "rows": self.rows, "missing": self.missing,
            "hashes": [str(one) for one in self._hashes.tolist()],  # beyond what a JSON number holds exactly
            "sample": self.sample.tolist(), "sums": self.sums.tolist(), "squares": self.squares.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> VectorSketch:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        found = cls(size=int(state["size"]), most=int(state.get("most", BEFORE)))
        found.rows, found.missing = int(state["rows"]), int(state["missing"])
        found._hashes = np.asarray([int(one) for one in state["hashes"]], dtype=np.uint64)
        found.sample = np.asarray(state["sample"], dtype=np.float32).reshape(-1, found.size)
        found.sums, found.squares = np.asarray(state["sums"], dtype=float), np.asarray(state["squares"], dtype=float)
        if len(found._hashes) != len(found.sample) or len(found.sample) != min(found.most, found.n):
            raise ValueError(f"sketch of vectors: {len(found.sample)} rows in the sample of {found.n}")
        return found


def _hashes(rows_ND: Array, before: int) -> Array:
    """(N,) of content and place: equal rows have different ones, or all or none of them would be drawn."""
    with np.errstate(over="ignore"):
        factors = _mixed(np.arange(1, rows_ND.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
        content = (rows_ND.view(np.uint32).astype(np.uint64) * factors).sum(axis=1, dtype=np.uint64)
        return _mixed(content + _mixed(np.arange(before, before + len(rows_ND), dtype=np.uint64)))


def _mixed(values: Array) -> Array:
    """Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators: the finaliser of SplitMix64."""
    with np.errstate(over="ignore"):
        found = values + np.uint64(0x9E3779B97F4A7C15)
        found = (found ^ (found >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        found = (found ^ (found >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return found ^ (found >> np.uint64(31))
