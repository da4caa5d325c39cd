"""Entities, and groups, whose records stand on both sides of the split: 8 bytes a record for each field of them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.quality.contents import TEST, TRAIN
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.data.split import Numbers
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record_table import CELL

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 4  # fields
GROUP = "group"  # stands for what keeps records together
Digests = np.ndarray[Any, np.dtype[np.uint64]]


class Entities:
    """Digests of names."""

    def __init__(self, schema: Schema | None) -> None:
        fields = schema.fields.items() if schema is not None else ()
        self._names = [name for name, one in fields if one.kind == "entity"][:MOST]
        self._held: dict[str, list[Digests]] = {name: [] for name in (*self._names, GROUP)}
        self._sides: list[Numbers] = []

    def add(self, table: pa.Table, sides_N: Numbers) -> None:
        """The next records."""
        self._sides.append(sides_N)
        for name in self._held:
            column = table[GROUP] if name == GROUP else _column(table, CELL + name)
            self._held[name].append(_digests(column, table.num_rows))

    def measures(self) -> dict[str, Measure]:
        """The field with the largest share."""
        sides = np.concatenate(self._sides or [np.empty(0, np.uint8)])
        worst, of, detail = -1.0, 0, "there is neither a field of kind entity nor a group"
        for name, held in self._held.items():
            digests = np.concatenate(held or [np.empty(0, np.uint64)])
            tested = digests[(sides == TEST) & (digests > 0)]
            trained = np.unique(digests[(sides == TRAIN) & (digests > 0)])
            both = float(np.isin(tested, trained).sum())
            if len(tested) and share(both, len(tested)) > worst:
                worst, of = share(both, len(tested)), len(tested)
                detail = f"{name}: {int(both):,} of {of:,} test records are of one that is also trained on"
        return {"entity_overlap_fraction": Measure(value=max(0.0, worst), n=of, detail=detail)}


def _column(table: pa.Table, name: str) -> pa.ChunkedArray | None:
    return table[name] if name in table.column_names else None


def _digests(column: pa.ChunkedArray | None, count: int) -> Digests:
    """Of every name; 0 where there is none."""
    if column is None or column.null_count == count:
        return np.zeros(count, np.uint64)
    coded = column.fill_null("").combine_chunks().dictionary_encode()
    of_names = np.asarray([_digest(name) for name in coded.dictionary.to_pylist()], np.uint64)
    return np.asarray(of_names[coded.indices.to_numpy()])


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) | 1 if name else 0
