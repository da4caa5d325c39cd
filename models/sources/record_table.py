"""Records as tables, a column per field: what a delivery of any size is held in, on disk, and handed over by a child.

A table says in the metadata of its schema which tensors its inputs are (`RecordLayout`); the bytes of a row's tensor
are one cell. Shape legend: N rows.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
from mlratchet.models.sources.record import Record, Reject, Remark, Target, inputs_of
from mlratchet.models.tensors.named import Column, Inputs, Ragged, Row
from mlratchet.models.tensors.spec import TensorSpec

if TYPE_CHECKING:
    import pyarrow as pa

X, CELL = "x.", "c."  # begin the names of the columns of inputs, and of what travels with a row
TARGET, ROW_COLUMNS, REMARKS = "y", "row_columns", "remarks"
ABOUT = b"ratchet.records"
APART = ("x", TARGET, "columns", ROW_COLUMNS, REMARKS)  # fields of a record that are not held as they are
SLICE_ROWS = 4096  # that are Python objects at once


@dataclass(frozen=True, kw_only=True)
class RecordPiece:
    """What was read one after the other."""

    table: pa.Table | None  # of the records; None where there are none
    rejects: tuple[tuple[int, Reject], ...] = ()  # with the number of records of the piece before each


@dataclass(frozen=True, kw_only=True)
class RecordLayout:
    """What the metadata of a table says."""

    tensors: tuple[TensorSpec, ...]  # in the order of their names
    named: bool  # whether a record's input is a mapping
    row_columns: tuple[tuple[str, ...], ...]  # the different ones; a row has the number of its own
    target_shape: tuple[int, ...] = ()  # of a target that is more than one number

    def packed(self) -> dict[bytes, bytes]:
        """As metadata."""
        tensors = [[one.name, list(one.shape), one.dtype, one.ragged] for one in self.tensors]
        about = {"tensors": tensors, "named": self.named, "row_columns": self.row_columns}
        about |= {"target": self.target_shape} if self.target_shape else {}
        return {ABOUT: json.dumps(about).encode()}


def held_in(table: pa.Table) -> RecordLayout:
    """Raises ``ValueError`` for a table that holds no records."""
    try:
        about = json.loads((table.schema.metadata or {})[ABOUT])
        tensors = tuple(
            TensorSpec(name=str(name), shape=tuple(map(int, shape)), dtype=np.dtype(dtype).name, ragged=bool(ragged))
            for name, shape, dtype, ragged in about["tensors"]
        )
        row_columns = tuple(tuple(map(str, names)) for names in about["row_columns"])
        target = tuple(map(int, about.get("target", ())))
        return RecordLayout(tensors=tensors, named=bool(about["named"]), row_columns=row_columns, target_shape=target)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no table of records: {type(error).__name__}: {error}") from error


@cache
def plain_fields() -> dict[str, pa.DataType]:
    """Fields of a record that are a column as they are -> its type."""
    import pyarrow as pa

    hints = get_type_hints(Record)
    kinds = {str: pa.string(), str | None: pa.string(), int: pa.int64(), int | None: pa.int64()}
    return {one.name: kinds[hints[one.name]] for one in fields(Record) if one.name not in APART}


@cache
def optional_fields() -> tuple[str, ...]:
    """Those of them that a record may lack."""
    hints = get_type_hints(Record)
    return tuple(name for name in plain_fields() if hints[name] in (str | None, int | None))


def packed(records: Sequence[Record], tensors: Sequence[TensorSpec] = ()) -> pa.Table:
    """Of records, at least one. `tensors`: of the workload, where it names some."""
    import pyarrow as pa

    named = isinstance(records[0].x, Mapping)
    inputs = inputs_of(records, tensors)
    columns: dict[str, Any] = {
        name: pa.array([getattr(record, name) for record in records], kind) for name, kind in plain_fields().items()
    }
    columns[TARGET], target_shape = target_cells([record.y for record in records])
    names = sorted({name for record in records for name in record.columns})
    for name in names:
        columns[CELL + name] = pa.array([record.columns.get(name) for record in records], pa.string())
    known = {names: number for number, names in enumerate(dict.fromkeys(record.row_columns for record in records))}
    columns[ROW_COLUMNS] = pa.array([known[record.row_columns] for record in records], pa.int32())
    remarks = [
        json.dumps([[one.code, one.words] for one in record.remarks]) if record.remarks else None for record in records
    ]
    columns[REMARKS] = pa.array(remarks, pa.string())
    return tabled(columns, inputs, named=named, row_columns=tuple(known), target_shape=target_shape)


def tabled(
    columns: Mapping[str, Any],
    inputs: Inputs,
    *,
    named: bool,
    row_columns: tuple[tuple[str, ...], ...],
    target_shape: tuple[int, ...] = (),
) -> pa.Table:
    """Of columns that are Arrow's already, and inputs (N rows)."""
    import pyarrow as pa

    specs = tuple(sorted(inputs.specs, key=lambda one: one.name))
    cells = {X + one.name: _cells(inputs.columns[one.name], one) for one in specs}
    held = RecordLayout(tensors=specs, named=named, row_columns=row_columns, target_shape=target_shape)
    return pa.table({**columns, **cells}).replace_schema_metadata(held.packed())


def target_cells(targets: Sequence[Any] | pa.Array) -> tuple[pa.Array, tuple[int, ...]]:
    """The column of targets, and the shape of one that is more than a number."""
    import pyarrow as pa

    if isinstance(targets, pa.Array):
        return targets, ()
    if targets and isinstance(targets[0], tuple):
        whole = np.asarray(targets, np.float64)
        return _cells(whole, TensorSpec(name=TARGET, shape=whole.shape[1:], dtype="float64")), whole.shape[1:]
    plain = [one.item() if isinstance(one, np.generic) else one for one in targets]
    whole_numbers = all(isinstance(one, int) for one in plain)
    kind = pa.int64() if whole_numbers else pa.float64()
    return pa.array([int(one) if whole_numbers else float(one) for one in plain], kind), ()


def _cells(column: Column, spec: TensorSpec) -> pa.Array:
    """The bytes of each row."""
    import pyarrow as pa

    if isinstance(column, Ragged):
        values = np.ascontiguousarray(column.values)
        offsets = np.ascontiguousarray(column.offsets * spec.row_bytes)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(column), buffers)
    whole = np.ascontiguousarray(column)
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(spec.row_bytes), len(whole), [None, pa.py_buffer(whole)])


def _array(cells: pa.ChunkedArray, spec: TensorSpec) -> Column:
    """The rows of a column of bytes: nothing is copied where it is in one piece."""
    found = cells.combine_chunks() if cells.num_chunks != 1 else cells.chunk(0)
    count, dtype = len(found), np.dtype(spec.dtype)
    size = spec.row_bytes
    if not spec.ragged:
        whole = np.frombuffer(found.buffers()[1] or b"", np.uint8)[found.offset * size : (found.offset + count) * size]
        return whole.view(dtype).reshape(count, *spec.shape)
    offsets = np.frombuffer(found.buffers()[1] or bytes(8), np.int64)[found.offset : found.offset + count + 1]
    values = np.frombuffer(found.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    return Ragged(values.view(dtype).reshape(-1, *spec.shape), (offsets - offsets[0]) // size)


def inputs_in(table: pa.Table, held: RecordLayout | None = None) -> Inputs:
    """The inputs of a table's rows."""
    held = held or held_in(table)
    return Inputs({one.name: _array(table[X + one.name], one) for one in held.tensors})


def targets_in(table: pa.Table) -> np.ndarray[Any, Any]:
    """(N,) int64 or float64, or (N, *shape of a target) float64."""
    import pyarrow as pa

    column = table[TARGET]
    if not pa.types.is_fixed_size_binary(column.type):
        return np.asarray(column.to_numpy())
    spec = TensorSpec(name=TARGET, shape=held_in(table).target_shape, dtype="float64")
    return np.asarray(_array(column, spec))


def as_target(value: Any) -> Target:
    """A target as a record has it, of what a list of an array holds."""
    return tuple(map(as_target, value)) if isinstance(value, list) else value  # type: ignore[return-value]  # nested


def cell_names(table: pa.Table) -> list[str]:
    """Of what travels with the rows of a table."""
    return [name.removeprefix(CELL) for name in table.column_names if name.startswith(CELL)]


def unpacked_records(table: pa.Table) -> Iterator[Record]:
    """The records, one after the other."""
    held = held_in(table)
    for at in range(0, table.num_rows, SLICE_ROWS):
        yield from _unpacked(table.slice(at, SLICE_ROWS), held)


def _unpacked(table: pa.Table, held: RecordLayout) -> Iterator[Record]:
    plain = list(plain_fields())
    told = [table[name].to_pylist() for name in plain]
    names = cell_names(table)
    cells = [table[CELL + name].to_pylist() for name in names]
    who = [held.row_columns[number] for number in table[ROW_COLUMNS].to_pylist()]
    found = targets_in(table)
    targets = [as_target(one) for one in found.tolist()] if found.ndim > 1 else found.tolist()
    remarks = [remarks_in(one) for one in table[REMARKS].to_pylist()]
    inputs = inputs_in(table, held)
    for row, x in enumerate(_rows(inputs, held)):
        columns = {name: values[row] for name, values in zip(names, cells, strict=True) if values[row] is not None}
        one = Record.__new__(Record)
        # a frozen dataclass sets its fields one by one, at four times the cost of all that is read here
        one.__dict__.update(zip(plain, [values[row] for values in told], strict=True))
        one.__dict__.update(x=x, y=targets[row], columns=columns, row_columns=who[row], remarks=remarks[row])
        yield one


def _rows(inputs: Inputs, held: RecordLayout) -> Iterator[Row]:
    if not held.named:
        yield from inputs.array
        return
    columns = list(inputs.columns.items())
    for row in range(len(inputs)):
        yield {name: one[row] for name, one in columns}


def remarks_in(text: str | None) -> tuple[Remark, ...]:
    """Of a cell. Raises ``ValueError`` for one that holds none."""
    return tuple(Remark(code=str(code), words=str(words)) for code, words in json.loads(text)) if text else ()


def joined_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """The rows of all, at least one. Raises ``ValueError`` where their inputs are of other tensors."""
    import pyarrow as pa

    if len(tables) == 1:
        return tables[0]
    every = [held_in(table) for table in tables]
    first = every[0]
    for one in every:
        if one.target_shape != first.target_shape:
            raise ValueError(
                f"targets of {list(first.target_shape)} and {list(one.target_shape)} numbers in one delivery"
            )
        if (one.tensors, one.named) != (first.tensors, first.named):
            raise ValueError(f"records of {_words(first.tensors)} and of {_words(one.tensors)} in one delivery")
    known = {names: n for n, names in enumerate(dict.fromkeys(names for one in every for names in one.row_columns))}
    held = replace(first, row_columns=tuple(known))
    numbers = [np.asarray([known[names] for names in one.row_columns], np.int32) for one in every]
    found = [
        table.set_column(
            table.column_names.index(ROW_COLUMNS), ROW_COLUMNS, pa.array(number[table[ROW_COLUMNS].to_numpy()])
        ).replace_schema_metadata(None)
        for table, number in zip(tables, numbers, strict=True)
    ]
    # a column that a piece lacks is null there; whole targets beside others are numbers
    return pa.concat_tables(found, promote_options="permissive").replace_schema_metadata(held.packed())


def _words(tensors: Iterable[TensorSpec]) -> str:
    return ", ".join(map(str, tensors))


def without_rows(table: pa.Table, column: str, names: Iterable[str]) -> pa.Table:
    """The rows whose cell in a column is none of these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    gone = sorted(set(names))
    return table.filter(pc.invert(pc.is_in(table[column], pa.array(gone, pa.string())))) if gone else table


def pieces_of_records(
    found: Iterable[Record | Reject], tensors: Sequence[TensorSpec], *, most_bytes: int = 16 << 20
) -> Iterator[RecordPiece]:
    """Records and rejects in the order they were read, in pieces of bounded size."""
    records: list[Record] = []
    rejects: list[tuple[int, Reject]] = []
    size = 0
    for one in found:
        if isinstance(one, Reject):
            rejects.append((len(records), one))
        else:
            records.append(one)
            size += sum(part.nbytes for part in one.x.values()) if isinstance(one.x, Mapping) else one.x.nbytes
        if len(records) + len(rejects) >= SLICE_ROWS or size >= most_bytes:
            yield _piece(records, rejects, tensors)
            records, rejects, size = [], [], 0
    if records or rejects:
        yield _piece(records, rejects, tensors)


def _piece(records: list[Record], rejects: list[tuple[int, Reject]], tensors: Sequence[TensorSpec]) -> RecordPiece:
    try:
        return RecordPiece(table=packed(records, tensors) if records else None, rejects=tuple(rejects))
    except (ValueError, TypeError, OverflowError):
        kept, wrong = _apart(records, tensors)
        if not wrong:  # each is one for itself, they do not fit together
            raise
    return RecordPiece(table=packed(kept, tensors) if kept else None, rejects=merged_rejects(rejects, wrong))


def gathered(pieces: Iterable[RecordPiece]) -> Iterator[RecordPiece]:
    """The same records and rejects in the same order: rejects that stand alone come many at a time, not each in a piece
    of its own."""
    waiting: list[tuple[int, Reject]] = []
    for piece in pieces:
        if piece.table is not None:
            yield RecordPiece(table=piece.table, rejects=(*waiting, *piece.rejects))
            waiting = []
            continue
        waiting += piece.rejects
        if len(waiting) >= SLICE_ROWS:
            yield RecordPiece(table=None, rejects=tuple(waiting))
            waiting = []
    if waiting:
        yield RecordPiece(table=None, rejects=tuple(waiting))


def merged_rejects(
    rejects: Iterable[tuple[int, Reject]], wrong: Sequence[tuple[int, Reject]]
) -> tuple[tuple[int, Reject], ...]:
    """Rejects of a piece, and those that some of its records are now, by their numbers; each with the number of records
    that are left before it."""
    gone = [number for number, _ in wrong]
    every = [(number, 0, one) for number, one in rejects] + [(number, 1, one) for number, one in wrong]
    every.sort(key=lambda entry: entry[:2])
    return tuple((number - bisect_left(gone, number), one) for number, _, one in every)


def _apart(records: Sequence[Record], tensors: Sequence[TensorSpec]) -> tuple[list[Record], list[tuple[int, Reject]]]:
    """Those that a table can hold, and the others with their numbers: of a reader of the user's own, half a character
    in a name, a number as an id."""
    kept: list[Record] = []
    wrong: list[tuple[int, Reject]] = []
    for number, record in enumerate(records):
        try:
            packed([record], tensors)
            kept.append(record)
        except (ValueError, TypeError, OverflowError) as error:
            where = _printed(record.where or record.id)
            words = _printed(f"{where}: a table cannot hold this record: {type(error).__name__}: {error}")
            wrong.append((number, Reject(where=where, code="bad_record", reason=words)))
    return kept, wrong


def _printed(value: object) -> str:
    return str(value).encode("utf-8", "backslashreplace").decode()


def read_one_by_one(pieces: Iterable[RecordPiece]) -> Iterator[Record | Reject]:
    """Records and rejects of pieces in the order they were read."""
    for piece in pieces:
        aside = iter([*piece.rejects, (-1, None)])
        before, reject = next(aside)
        for number, record in enumerate(unpacked_records(piece.table) if piece.table is not None else ()):
            while reject is not None and before <= number:
                yield reject
                before, reject = next(aside)
            yield record
        while reject is not None:
            yield reject
            before, reject = next(aside)
