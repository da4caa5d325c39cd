"""The sketch of a column of categories: how often each value occurs, and for more values than are kept their hashes.

Up to `MOST` values are counted exactly. Beyond, the frequent ones are kept by the rule of Misra and Gries (1982), which
Agarwal et al. (2013), Mergeable summaries, showed to stay within n / MOST under any merging; what is then still exact
are the counts of `BUCKETS` hashes, of which a distance between two columns can only be too small.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Array = np.ndarray[Any, Any]

MOST = 1000
BUCKETS = 1024
PIECE = 1_000_000  # rows at a time


class ValueSketch:
    """Of categories, entities, and digests."""

    form = "values"

    def __init__(self) -> None:
        self.rows = self.missing = 0
        self.counts: dict[str, int] = {}
        """Value -> how often; at most so much too few as `short` says."""
        self.short = 0
        """By how much a count may be too small; 0: every value is there with its count."""
        self.buckets = np.zeros(BUCKETS, dtype=np.int64)
        """Counts of hashes, always exact."""

    def like(self) -> ValueSketch:
        """An empty one."""
        return ValueSketch()

    @property
    def n(self) -> int:
        """Values that are there."""
        return self.rows - self.missing

    @property
    def whole(self) -> bool:
        """Whether every value is there with its count."""
        return self.short == 0

    def update(self, values: Any) -> None:
        """Take up a column: an Arrow array, or anything that Arrow makes one of; null is missing."""
        column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
        for start in range(0, len(column), PIECE):
            self._take(column.slice(start, PIECE))

    def _take(self, piece: Any) -> None:
        self.rows += len(piece)
        self.missing += piece.null_count
        if pa.types.is_dictionary(piece.type):
            piece = piece.cast(piece.type.value_type)
        counted = pc.value_counts(piece.drop_null())
        names = [str(name) for name in counted.field(0).to_pylist()]
        self._add(dict(zip(names, counted.field(1).to_pylist(), strict=True)))

    def _add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.buckets[bucket(name)] += count
        self._keep(counts, 0)

    def _keep(self, counts: Mapping[str, int], short: int) -> None:
        """Misra and Gries: what is beyond the most frequent is taken off all."""
        total = dict(self.counts)
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
        self.short += short
        if len(total) > MOST:
            least = sorted(total.values(), reverse=True)[MOST]
            self.short += least
            total = {name: count - least for name, count in total.items() if count > least}
        self.counts = total

    def merge(self, other: ValueSketch) -> None:
        """Take up all that another has."""
        self.rows, self.missing = self.rows + other.rows, self.missing + other.missing
        self.buckets = self.buckets + other.buckets
        self._keep(other.counts, other.short)

    def to_json(self) -> dict[str, Any]:
        """As JSON values, some 20 KB at most for names of usual length."""
        held = np.flatnonzero(self.buckets)
        return {
            "form": self.form, "rows": self.rows, "missing": self.missing, "short": self.short,
            "counts": dict(sorted(self.counts.items())),
            **({} if self.whole else {"buckets": held.tolist(), "hashed": self.buckets[held].tolist()}),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> ValueSketch:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        found = cls()
        found.rows, found.missing, found.short = (int(state[name]) for name in ("rows", "missing", "short"))
        found.counts = {str(name): int(count) for name, count in state["counts"].items()}
        if found.whole:
            for name, count in found.counts.items():
                found.buckets[bucket(name)] += count
        else:
            found.buckets[np.asarray(state["buckets"], dtype=int)] = np.asarray(state["hashed"], dtype=np.int64)
        if int(found.buckets.sum()) != found.n:
            raise ValueError(f"sketch of values: {int(found.buckets.sum())} counts of {found.n} values")
        return found


def bucket(name: str) -> int:
    """Where a value is counted: the same on every machine."""
    return zlib.crc32(name.encode()) % BUCKETS
