"""The records of a delivery, however many: by id, each once, on disk as soon as they are more than fit in memory.

Pieces are sorted as they come and written down; then stretches of ids are gathered from all of them: a stretch is in
memory, never the delivery. A delivery that fits is never written.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import weakref
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.rejects import Duplicates, Rejects
from mlratchet.models.sources.arrow_memory import keep_freed_memory
from mlratchet.models.sources.record import LOGGED_COLUMN, Record
from mlratchet.models.sources.record_table import (
    CELL,
    RecordPiece,
    cell_names,
    joined_tables,
    packed,
    unpacked_records,
)
from mlratchet.models.tensors.spec import TensorSpec

if TYPE_CHECKING:
    import pyarrow as pa

HELD_BYTES = 32 << 20  # of records in memory, and of a file
SAMPLES = 64  # ids of a file by which stretches are cut
BEHIND_DELIVERED = 1 << 40  # added to the number of a row that the inference log gave
ORDER = "@order"  # the number of a record as it came
AS_ID = ("group", "row_digest", "raw_digest")  # hold what the id is, where rows have none of their own
SAME = b"ratchet.as_id"  # which of them a file leaves out


class Records(Collection[Record]):
    """In the order of their ids. Every pass gives the same; nobody holds them."""

    def __init__(self, tables: Sequence[pa.Table | Path], rows: int, folder: Path | None = None) -> None:
        """`tables`: themselves, or files that hold one; `folder`: of the files, removed with the last use."""
        self._tables, self._rows = list(tables), rows
        self._gone = weakref.finalize(self, _remove, folder) if folder is not None else None

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[Record]:
        for table in self.tables():
            yield from unpacked_records(table)

    def __contains__(self, one: object) -> bool:
        return isinstance(one, Record) and any(held.id == one.id for held in self)

    @property
    def table_count(self) -> int:
        """In how many tables they are held."""
        return len(self._tables)

    def table(self, number: int) -> pa.Table:
        """One of those, as `record_table` holds records; of bounded size."""
        one = self._tables[number]
        return opened(one) if isinstance(one, Path) else one

    def tables(self) -> Iterator[pa.Table]:
        """All of them, in order."""
        return map(self.table, range(self.table_count))

    def column_names(self) -> set[str]:
        """Of what travels with any of the records."""
        return {
            name
            for table in self.tables()
            for name in cell_names(table)
            if table[CELL + name].null_count < table.num_rows
        }

    def only(self, keep: Callable[[pa.Table], np.ndarray[Any, np.dtype[np.bool_]]]) -> Records:
        """Those that `keep` says of the rows of each table, in their order. A byte is kept of each."""
        return _Some(self, [keep(table) for table in self.tables()])

    def ids_at(self, places: Iterable[int]) -> list[str]:
        """The ids at these places of the order, ascending."""
        wanted = np.unique(np.fromiter(places, np.int64))
        found: list[str] = []
        before = 0
        for table in self.tables() if len(wanted) else ():
            here = wanted[(wanted >= before) & (wanted < before + table.num_rows)] - before
            found += table["id"].take(here).to_pylist()
            before += table.num_rows
            if before > wanted[-1]:
                break
        return found

    @property
    def size_bytes(self) -> int:
        """Of all of them as they are held."""
        return sum(table.nbytes for table in self.tables())


class _Some(Records):
    """Some of others, which are held as long as these are."""

    def __init__(self, whole: Records, masks: Sequence[np.ndarray[Any, Any]]) -> None:
        super().__init__((), sum(int(mask.sum()) for mask in masks))
        self._whole, self._masks = whole, [(number, mask) for number, mask in enumerate(masks) if mask.any()]

    @property
    def table_count(self) -> int:
        """See the base."""
        return len(self._masks)

    def table(self, number: int) -> pa.Table:
        """See the base."""
        at, mask = self._masks[number]
        return self._whole.table(at).filter(mask)

    @property
    def size_bytes(self) -> int:
        """In proportion."""
        return self._whole.size_bytes * len(self) // max(1, len(self._whole))


NO_RECORDS = Records((), 0)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # it may be gone with the folder that it is in


def records_of(records: Records | Iterable[Record], tensors: Sequence[TensorSpec] = ()) -> Records:
    """Records that are at hand, in their order, ids as they are. `tensors`: of the workload, where it names some."""
    if isinstance(records, Records):
        return records
    held = list(records)
    return Records((packed(held, tensors),) if held else (), len(held))


@dataclass(kw_only=True)
class Sorter:
    """Takes pieces in the order in which they are read; `sorted` gives them by id, the first of each."""

    scratch: Path | None = None  # where files may be; None: where temporary files are
    held_bytes: int = field(default_factory=lambda: HELD_BYTES)
    _waiting: list[pa.Table] = field(default_factory=list)
    _waiting_bytes: int = 0
    _folder: Path | None = None
    _runs: list[Path] = field(default_factory=list)
    _again: list[Path | None] = field(default_factory=list)  # beside every run: those whose id another has before them
    _rows: int = 0

    def __post_init__(self) -> None:
        keep_freed_memory()
        self._rejects = Rejects(self.scratch)

    def add(self, piece: RecordPiece) -> None:
        """One more. Raises ``ValueError`` for inputs of other tensors than before."""
        for before, one in piece.rejects:
            self._rejects.add(one, self._rows + before)
        if piece.table is None:
            return
        numbers = np.arange(self._rows, self._rows + piece.table.num_rows)
        if (mark := CELL + LOGGED_COLUMN) in piece.table.column_names:
            # of a row that was delivered, too, that one is kept
            numbers[piece.table[mark].is_valid().to_numpy(zero_copy_only=False)] += BEHIND_DELIVERED
        self._waiting.append(_with_order(piece.table, numbers))
        self._waiting_bytes += piece.table.nbytes
        self._rows += piece.table.num_rows
        if self._waiting_bytes >= self.held_bytes:
            self._write_run()

    def sorted(self) -> tuple[Records, Rejects]:
        """The records, and what was set aside in the order in which it was read, duplicates of an id among it."""
        if not self._runs:
            tables = []
            if self._waiting:
                table, others = _once(joined_tables(self._waiting))
                tables.append(table.drop_columns([ORDER]))
                if others.num_rows:
                    self._rejects.merge(Duplicates(_placed(others, table), others.num_rows))
            return Records(tables, sum(one.num_rows for one in tables)), self._rejects
        if self._waiting:
            self._write_run()
        assert self._folder is not None
        files, rows = [], 0
        for number, (table, others) in enumerate(self._stretches()):
            files.append(_written(table.drop_columns([ORDER]), self._folder / f"sorted-{number:06d}.arrow"))
            rows += table.num_rows
            if others.num_rows:
                file = _written(_placed(others, table), self._folder / f"twice-{number:06d}.arrow")
                self._rejects.merge(Duplicates(file, others.num_rows))
        for run in (*self._runs, *self._again):
            if run is not None:
                run.unlink()
        records = Records(files, rows, self._folder)
        if self._rejects.tables:
            self._rejects.beside(records)
        return records, self._rejects

    def _write_run(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="records-", dir=self.scratch))
        table, others = _once(joined_tables(self._waiting))
        number = len(self._runs)
        self._runs.append(_written(table, self._folder / f"run-{number:06d}.arrow"))
        again = self._folder / f"again-{number:06d}.arrow"
        self._again.append(_written(others, again) if others.num_rows else None)
        self._waiting, self._waiting_bytes = [], 0

    def _stretches(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Of all runs together, in order: each of about the size of one; and those whose id another has before them."""
        import pyarrow as pa

        cuts = self._cuts()
        found = [(run, _places(run, cuts)) for run in self._runs]
        again = [(run, _places(run, cuts)) for run in self._again if run is not None]
        for number in range(len(cuts) + 1):
            parts = list(_stretch(found, number))
            if parts:
                table, others = _once(joined_tables(parts))
                yield table, pa.concat_tables([others, *_stretch(again, number)])

    def _cuts(self) -> list[str]:
        """Ids between which as much lies as a run holds."""
        samples = []
        for run in self._runs:
            ids = opened(run)["id"]
            samples += [ids[place].as_py() for place in np.linspace(0, len(ids) - 1, SAMPLES, dtype=np.int64).tolist()]
        samples.sort()
        return sorted({samples[number * SAMPLES] for number in range(1, len(self._runs))})


def _once(table: pa.Table) -> tuple[pa.Table, pa.Table]:
    """By id, the first of each; and who the others are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    order = pc.sort_indices(table, sort_keys=[("id", "ascending"), (ORDER, "ascending")])
    ids = table["id"].combine_chunks().take(order)
    again = np.zeros(len(ids), dtype=bool)
    if len(ids) > 1:
        again[1:] = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    who = table.select(["id", "where", ORDER]).replace_schema_metadata(None)
    others = who.take(order.filter(pa.array(again))) if again.any() else who.slice(0, 0)
    first = order.filter(pa.array(~again)) if again.any() else order
    same = [name for name in AS_ID if table[name].equals(table["id"])]
    return with_ids_as(table.drop_columns(same).take(first).combine_chunks(), same, table.schema), others


def _stretch(runs: Sequence[tuple[Path, list[int]]], number: int) -> Iterator[pa.Table]:
    for run, ends in runs:
        at, end = ends[number], ends[number + 1]
        if end > at:
            yield opened(run).slice(at, end - at)


def _placed(others: pa.Table, kept: pa.Table) -> pa.Table:
    """In the order in which they were read, with the place of the record that has their id."""
    import pyarrow.compute as pc

    places = kept["where"].take(pc.index_in(others["id"], value_set=kept["id"].combine_chunks()))
    named = others.rename_columns(["id", "where", "order"]).append_column("kept", places)
    return named.sort_by("order").combine_chunks()


def _with_order(table: pa.Table, numbers: np.ndarray[Any, Any]) -> pa.Table:
    import pyarrow as pa

    return table.append_column(ORDER, pa.array(numbers, pa.int64()))


def _places(run: Path, cuts: Sequence[str]) -> list[int]:
    """Where each stretch begins in a run, and its end."""
    ids = opened(run)["id"].chunk(0)
    return [0, *(bisect_left(range(len(ids)), cut, key=lambda at: ids[at].as_py()) for cut in cuts), len(ids)]


def with_ids_as(table: pa.Table, names: Sequence[str], whole: pa.Schema) -> pa.Table:
    """With these columns, which are the ids over again and are not copied. `whole`: of the table with them."""
    import pyarrow as pa

    columns = [table["id"] if field.name in names else table[field.name] for field in whole]
    return pa.Table.from_arrays(columns, schema=whole)


def _written(table: pa.Table, file: Path) -> Path:
    """As one batch: a slice of it is read without the rest."""
    import pyarrow as pa

    if "id" in table.column_names and "group" in table.column_names:
        same = [name for name in AS_ID if _shares_bytes(table[name], table["id"])]
        about = {**(table.schema.metadata or {}), SAME: json.dumps([same, table.column_names]).encode()}
        table = table.drop_columns(same).replace_schema_metadata(about)
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return file


def _shares_bytes(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    """Whether both are the same bytes in memory."""
    held = [[part and part.address for chunk in column.chunks for part in chunk.buffers()] for column in (one, other)]
    return held[0] == held[1] and [len(c) for c in one.chunks] == [len(c) for c in other.chunks]


def opened(file: Path) -> pa.Table:
    """The table of a file, mapped: what is not looked at is not read."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        table = pa.ipc.open_file(source).read_all()
    about = dict(table.schema.metadata or {})
    if (told := about.pop(SAME, None)) is None:
        return table
    same, names = json.loads(told)
    kinds = [table.schema.field("id" if name in same else name).with_name(name) for name in names]
    return with_ids_as(table, same, pa.schema(kinds, metadata=about))
