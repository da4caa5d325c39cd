"""Records found again by their ids, from the tables that hold them: a few thousand are in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from mlratchet.models.data.records import Records
from mlratchet.models.sources.record import Record
from mlratchet.models.sources.record_table import SLICE_ROWS, unpacked_records
from mlratchet.models.tensors.named import Array, Inputs
from mlratchet.models.tensors.sharded import BLOCK_ROWS, ShardedInputs

Value = TypeVar("Value")


class RecordsById(Mapping[str, Value], Generic[Value]):
    """What `made` makes of each record. Who asks for ids in their order reads every table once."""

    def __init__(self, records: Records, made: Callable[[Record], Value]) -> None:
        """`records`: in the order of their ids."""
        self.records, self._made = records, made
        self._first = [table["id"][0].as_py() for table in records.tables()]
        self._held: dict[str, Record] = {}
        self._begin, self._last = "", ""  # between these there are no others

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[str]:
        for table in self.records.tables():
            yield from table["id"].to_pylist()

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name) is not None

    def __getitem__(self, name: str) -> Value:
        found = self._find(name)
        if found is None:
            raise KeyError(name)
        return self._made(found)

    def _find(self, name: str) -> Record | None:
        if not self._begin <= name <= self._last:
            self._hold(name)
        return self._held.get(name)

    def _hold(self, name: str) -> None:
        """A stretch of a table that begins with this id, or behind it."""
        number = max(0, bisect_right(self._first, name) - 1)
        ids = (table := self.records.table(number))["id"].combine_chunks()
        at = bisect_left(range(len(ids)), name, key=lambda place: ids[place].as_py())
        some = table.slice(at, SLICE_ROWS)
        self._held = {one.id: one for one in unpacked_records(some)}
        self._begin, self._last = name, next(reversed(self._held), "")


class _Blocks:
    """The inputs of records in the order of these ids, a block at a time. See `Pieces`."""

    def __init__(
        self, records: RecordsById[Record], ids: Sequence[str], stacked: Callable[[list[Record]], Inputs]
    ) -> None:
        self._records, self._ids, self._stacked = records, ids, stacked
        self.ends: Array = np.minimum(np.arange(BLOCK_ROWS, len(ids) + BLOCK_ROWS, BLOCK_ROWS), len(ids))
        self._blank = next(iter(records.records))

    def inputs(self, number: int) -> Inputs:
        """Of one block."""
        some = self._ids[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
        return self._stacked([self._records.get(one, self._blank) for one in some])


def inputs_by_id(records: RecordsById[Record], ids: Sequence[str], stacked: Callable[[list[Record]], Inputs]) -> Inputs:
    """As `stacked` makes them; of an id that no record has, another record's."""
    blocks = _Blocks(records, ids, stacked)
    return blocks.inputs(0) if len(blocks.ends) == 1 else ShardedInputs(blocks)
