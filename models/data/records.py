"""The records of a delivery, however many: by id, each once, on disk as soon as they are more than fit in memory.

Pieces are sorted as they come and written down; then stretches of ids are gathered from all of them: a stretch is in
memory, never the delivery. A delivery that fits is never written.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.sources.record import Record, Reject
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
ORDER = "@order"  # the number of a record as it came


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
        return _opened(one) if isinstance(one, Path) else one

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
        return sum(one.stat().st_size if isinstance(one, Path) else one.nbytes for one in self._tables)


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


@dataclass(frozen=True, kw_only=True)
class _Again:
    """A record whose id another had before it."""

    order: int
    id: str
    where: str

    def reject(self, kept: str) -> Reject:
        where = self.where or self.id
        words = f"{where}: id {self.id!r} is there twice; the first{f' ({kept})' if kept else ''} is kept"
        return Reject(where=where, code="duplicate_id", reason=words)


@dataclass(kw_only=True)
class Sorter:
    """Takes pieces in the order in which they are read; `sorted` gives them by id, the first of each."""

    scratch: Path | None = None  # where files may be; None: where temporary files are
    held_bytes: int = field(default_factory=lambda: HELD_BYTES)
    _waiting: list[pa.Table] = field(default_factory=list)
    _waiting_bytes: int = 0
    _folder: Path | None = None
    _runs: list[Path] = field(default_factory=list)
    _rejects: list[tuple[int, Reject]] = field(default_factory=list)  # with the number of records before each
    _again: list[_Again] = field(default_factory=list)
    _rows: int = 0

    def add(self, piece: RecordPiece) -> None:
        """One more. Raises ``ValueError`` for inputs of other tensors than before."""
        self._rejects += [(self._rows + before, one) for before, one in piece.rejects]
        if piece.table is None:
            return
        numbers = np.arange(self._rows, self._rows + piece.table.num_rows)
        self._waiting.append(_with_order(piece.table, numbers))
        self._waiting_bytes += piece.table.nbytes
        self._rows += piece.table.num_rows
        if self._waiting_bytes >= self.held_bytes:
            self._write_run()

    def sorted(self) -> tuple[Records, list[Reject]]:
        """The records, and what was set aside in the order in which it was read, duplicates of an id among it."""
        if not self._runs:
            tables = self._in_memory()
            return Records(tables, sum(one.num_rows for one in tables)), self._all_rejects(tables)
        if self._waiting:
            self._write_run()
        assert self._folder is not None
        files, rows, kept = [], 0, dict[str, str]()
        for number, table in enumerate(self._stretches()):
            kept |= _places_of(table, {one.id for one in self._again})
            files.append(_written(table.drop_columns([ORDER]), self._folder / f"sorted-{number:06d}.arrow"))
            rows += table.num_rows
        for run in self._runs:
            run.unlink()
        return Records(files, rows, self._folder), self._merged_rejects(kept)

    def _in_memory(self) -> list[pa.Table]:
        if not self._waiting:
            return []
        return [self._once(joined_tables(self._waiting)).drop_columns([ORDER])]

    def _once(self, table: pa.Table) -> pa.Table:
        """By id, the first of each; the others are remembered."""
        import pyarrow as pa
        import pyarrow.compute as pc

        order = pc.sort_indices(table, sort_keys=[("id", "ascending"), (ORDER, "ascending")])
        ids = table["id"].combine_chunks().take(order)
        again = np.zeros(len(ids), dtype=bool)
        if len(ids) > 1:
            again[1:] = pc.equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
        if again.any():
            others = table.select(["id", "where", ORDER]).take(order.filter(pa.array(again)))
            self._again += [_Again(order=one[ORDER], id=one["id"], where=one["where"]) for one in others.to_pylist()]
            order = order.filter(pa.array(~again))
        return table.take(order).combine_chunks()

    def _write_run(self) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="records-", dir=self.scratch))
        table = self._once(joined_tables(self._waiting))
        self._runs.append(_written(table, self._folder / f"run-{len(self._runs):06d}.arrow"))
        self._waiting, self._waiting_bytes = [], 0

    def _stretches(self) -> Iterator[pa.Table]:
        """Of all runs together, in order: each of about the size of one."""
        cuts = self._cuts()
        places = [_places(run, cuts) for run in self._runs]
        for number in range(len(cuts) + 1):
            parts = []
            for run, ends in zip(self._runs, places, strict=True):
                at, end = ends[number], ends[number + 1]
                if end > at:
                    parts.append(_opened(run).slice(at, end - at))
            if parts:
                yield self._once(joined_tables(parts))

    def _cuts(self) -> list[str]:
        """Ids between which as much lies as a run holds."""
        samples = []
        for run in self._runs:
            ids = _opened(run)["id"]
            samples += [ids[place].as_py() for place in np.linspace(0, len(ids) - 1, SAMPLES, dtype=np.int64).tolist()]
        samples.sort()
        return sorted({samples[number * SAMPLES] for number in range(1, len(self._runs))})

    def _all_rejects(self, tables: Sequence[pa.Table]) -> list[Reject]:
        kept: dict[str, str] = {}
        for table in tables if self._again else ():
            kept |= _places_of(table, {one.id for one in self._again})
        return self._merged_rejects(kept)

    def _merged_rejects(self, kept: dict[str, str]) -> list[Reject]:
        """One that was read before record n comes before what record n is refused for."""
        known = [(before, number, one) for number, (before, one) in enumerate(self._rejects)]
        after = len(known)
        known += [(one.order, after, one.reject(kept.get(one.id, ""))) for one in self._again]
        return [one for _, _, one in sorted(known, key=lambda entry: entry[:2])]


def _with_order(table: pa.Table, numbers: np.ndarray[Any, Any]) -> pa.Table:
    import pyarrow as pa

    return table.append_column(ORDER, pa.array(numbers, pa.int64()))


def _places_of(table: pa.Table, ids: set[str]) -> dict[str, str]:
    """Where these records were read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not ids:
        return {}
    found = table.filter(pc.is_in(table["id"], value_set=pa.array(sorted(ids), pa.string())))
    return dict(zip(found["id"].to_pylist(), found["where"].to_pylist(), strict=True))


def _places(run: Path, cuts: Sequence[str]) -> list[int]:
    """Where each stretch begins in a run, and its end."""
    ids = _opened(run)["id"].chunk(0)
    return [0, *(bisect_left(range(len(ids)), cut, key=lambda at: ids[at].as_py()) for cut in cuts), len(ids)]


def _written(table: pa.Table, file: Path) -> Path:
    """As one batch: a slice of it is read without the rest."""
    import pyarrow as pa

    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return file


def _opened(file: Path) -> pa.Table:
    """Mapped: what is not looked at is not read."""
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_file(source).read_all()
