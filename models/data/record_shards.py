"""The records of a delivery become the shards of each side, one after the other: what is in memory are a few shards."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import ShardRef
from mlratchet.models.data.logged_rows import is_logged
from mlratchet.models.data.records import HELD_BYTES, Records
from mlratchet.models.data.shards import publish_shard
from mlratchet.models.data.split import NO_SIDE, SIDES, Numbers, Sides
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.sources.record_table import (
    CELL,
    cell_names,
    held_in,
    inputs_in,
    joined_tables,
    targets_in,
)

if TYPE_CHECKING:
    import pyarrow as pa

WRITERS = 8  # threads, of small shards
WRITTEN_BYTES = 64 << 20  # of records, in the shards that are written at once
MOST_SHARDS = 256  # of a dataset whose shards have `data.rows_per_shard`
SHARD_BYTES = 32 << 20  # of records, in a shard of a larger one
Cut = Callable[[str, int], int]
"""(side, number of the shard) -> its rows."""


class HeldSides:
    """The sides of all records, asked for once: a byte of each in a file."""

    def __init__(self, records: Records, sides: Sides) -> None:
        self.records = records
        self._file = tempfile.SpooledTemporaryFile(max_size=HELD_BYTES)  # noqa: SIM115 - as long as this is
        counts, logged = np.zeros(NO_SIDE + 1, np.int64), np.zeros(NO_SIDE + 1, np.int64)
        for table in records.tables():
            numbers = sides.in_table(table)
            counts += np.bincount(numbers, minlength=NO_SIDE + 1)
            logged += np.bincount(numbers[is_logged(table)], minlength=NO_SIDE + 1)
            self._file.write(numbers.tobytes())
        self.counts: dict[str, int] = {side: int(counts[number]) for number, side in enumerate(SIDES)}
        told = SIDES if logged.any() else ()
        self.logged: dict[str, int] = {side: int(logged[number]) for number, side in enumerate(told)}
        """Of those that the inference log gave; empty where it gave none."""

    def tables(self) -> Iterator[tuple[pa.Table, Numbers]]:
        """The records, and the number of the side of each in `SIDES`."""
        self._file.seek(0)
        for table in self.records.tables():
            yield table, np.frombuffer(self._file.read(table.num_rows), np.uint8)


def rows_of_a_shard(records: Records, data: DataConfig) -> int:
    """As declared; of a dataset that would have very many of those, a multiple that makes shards of some size."""
    declared = data.rows_per_shard
    if len(records) <= MOST_SHARDS * declared:
        return declared
    return declared * max(1, SHARD_BYTES * len(records) // records.size_bytes // declared)


def write_shards(store: ObjectStore, sides: HeldSides, cut: Cut) -> dict[str, tuple[ShardRef, ...]]:
    """Publish the shards of every side; the references in order."""
    records = sides.records
    refs: dict[str, list[ShardRef]] = {side: [] for side in SIDES}
    shard_bytes = records.size_bytes * cut(SIDES[0], 0) // max(1, len(records))
    writers = min(WRITERS, max(1, WRITTEN_BYTES // max(1, shard_bytes)))
    found = side_by_side(
        lambda job: (job[0], publish_shard(store, rows_of_table(job[1]))),
        _shards(sides, cut),
        readers=writers,
        ahead=writers,
    )
    for side, ref in found:
        refs[side].append(ref)
    return {side: tuple(found) for side, found in refs.items()}


def _shards(sides: HeldSides, cut: Cut) -> Iterator[tuple[str, pa.Table]]:
    waiting: dict[str, list[pa.Table]] = {side: [] for side in SIDES}
    numbers = dict.fromkeys(SIDES, 0)
    for table, found in sides.tables():
        for number, side in enumerate(SIDES):
            mine = table.filter(found == number)
            if mine.num_rows:
                waiting[side].append(mine)
            while (rows := sum(one.num_rows for one in waiting[side])) and rows >= cut(side, numbers[side]):
                whole = joined_tables(waiting[side])
                size = cut(side, numbers[side])
                yield side, whole.slice(0, size)
                numbers[side] += 1
                waiting[side] = [whole.slice(size)] if rows > size else []
    for side in SIDES:
        if waiting[side]:
            yield side, joined_tables(waiting[side])


def rows_of_table(table: pa.Table) -> Split:
    """As a shard holds them."""
    y = targets_in(table)
    cells = {name: table[CELL + name] for name in cell_names(table)}
    return Split(
        ids=table["id"].to_pylist(),
        x=inputs_in(table, held_in(table)),
        y=y if y.dtype == np.int64 else y.astype(np.float32),
        columns={
            name: ["" if one is None else one for one in column.to_pylist()]
            for name, column in cells.items()
            if column.null_count < len(column)
        },
    )


def identity_columns_of(records: Records) -> tuple[str, ...]:
    """The columns that say who a row is."""
    return tuple(sorted({name for table in records.tables() for names in held_in(table).row_columns for name in names}))


def target_counts(records: Records, class_names: tuple[str, ...]) -> dict[str, int]:
    """Rows per class or label; of what has no names, nothing."""
    counts: Counter[str] = Counter()
    for table in records.tables() if class_names else ():
        y = targets_in(table)
        if y.ndim > 2 or (y.ndim == 2 and y.shape[1] != len(class_names)):  # a sequence or set has no class of its own
            continue
        rows = y.sum(axis=0).astype(int) if y.ndim == 2 else np.bincount(y.astype(int), minlength=len(class_names))
        counts.update({name: int(n) for name, n in zip(class_names, rows.tolist(), strict=True) if n})
    return dict(sorted(counts.items()))
