"""Raw rows become the tensors of one version, exactly as its server makes them of a request; what does not fit is set
aside with field and rule.

A version with a schema types columns as its deliveries were typed, and prepares them. Any other takes rows as its
clients send them.

Shape legend: N rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import DataError, RatchetError
from mlratchet.models.objectives.naming import learns_one_cell
from mlratchet.models.schema.cells import is_text, one_array, text_of
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.kinds import SHOWN, read_column
from mlratchet.models.schema.notation import Notation, See, declared, seen_in
from mlratchet.models.schema.typing import typed
from mlratchet.models.scoring.job import RowFormat
from mlratchet.models.serving.reading.limits import most_instances
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.sources.pieces import ID, LABEL, PICTURE, WHERE
from mlratchet.models.sources.record import ExampleSpec, Reject
from mlratchet.models.sources.record_table import without_rows
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import ONE
from mlratchet.models.workloads.examples import preparer_of
from mlratchet.models.workloads.label_target import holds_several

Array = np.ndarray[Any, Any]
AT_ONCE_BYTES, AT_ONCE_ROWS = 64 << 20, 4096  # of tensors, that are prepared together
UNFIT, UNPREPARED = (
    "unfit_value",
    "unprepared",
)  # rules: refused as the server refuses it; the preparation cannot take it


@dataclass(frozen=True, kw_only=True)
class FittingRows:
    """Some rows, as the model takes them."""

    x: Inputs
    where: list[str]  # file, or file:row
    ids: list[str]
    y: Array | None  # (N,) float64 class index or number, NaN where nothing says it; None: no column of labels


class RowReader(Protocol):
    """Of one version."""

    needed: frozenset[str]
    """Columns that a row must have."""

    def notation(self, raw: pa.Table) -> Notation | None:
        """How the cells of a table are written; None: nothing has to be known. Raises ``DataError`` for a table that is
        written otherwise than what was trained on."""
        ...

    def read(self, raw: pa.Table, notation: Notation | None = None) -> Iterator[FittingRows | Reject]:
        """The rows that fit, some at a time, and the others. Raises ``DataError`` for a table that cannot be read.
        `notation`: of the table that these rows are a part of; None: as they tell."""
        ...


def row_reader(signature: Signature, how: RowFormat) -> RowReader:
    """As the signature says that rows come."""
    about = signature.input.example
    return ExampleRows(about, signature, how) if about is not None else RequestRows(signature, how)


class ExampleRows:
    """Of a version that prepares examples by its schema."""

    def __init__(self, about: ExampleSpec, signature: Signature, how: RowFormat) -> None:
        self._preparer = preparer_of(about)
        self._schema = self._preparer.schema
        self._notation = _Notations(self._schema, how)
        self._names = () if holds_several(self._schema) else signature.classes
        self._learns = learns_one_cell(signature.task) and not holds_several(self._schema)
        self._id = self._schema.id or how.options.get("id_column")
        self._rows = rows_at_once(sum(one.row_bytes for one in signature.input.specs))
        self.needed = frozenset(self._schema.inputs)

    def notation(self, raw: pa.Table) -> Notation:
        """See the protocol."""
        return self._notation.of(self._with_label(raw))

    def _with_label(self, raw: pa.Table) -> pa.Table:
        """What a format says of the label is the label."""
        label = self._schema.label
        if label is None or LABEL not in raw.column_names or label in raw.column_names:
            return raw
        return raw.rename_columns([label if name == LABEL else name for name in raw.column_names])

    def read(self, raw: pa.Table, notation: Notation | None = None) -> Iterator[FittingRows | Reject]:
        """See the protocol."""
        raw = self._with_label(raw)
        notation = self._notation.of(raw) if notation is None else notation
        table, rejects = typed(raw, self._schema, notation, labelled=False)
        yield from rejects
        y = self._targets(raw, notation)
        ids = ids_of(raw, self._id)
        for start in range(0, table.num_rows, self._rows):
            part = table.slice(start, self._rows)
            kept, x, unfit = self._prepared(part)
            yield from unfit
            if not kept.num_rows:
                continue
            places = kept[WHERE].to_pylist()
            learnt = None
            if y is not None:
                learnt = y[pc.index_in(kept[WHERE], one_array(raw[WHERE])).to_numpy()]
            yield FittingRows(x=x, where=places, ids=[ids.get(one, one) for one in places], y=learnt)

    def _prepared(self, table: pa.Table) -> tuple[pa.Table, Inputs, list[Reject]]:
        """The rows that can be prepared; which others cannot, is asked only where one is."""
        try:
            return table, self._preparer.prepared(table), []
        except RatchetError as error:
            unfit = self._preparer.refused(table)
            if not unfit:  # it says of no row that it is the one
                return self._one_by_one(table, error)
            kept = without_rows(table, WHERE, {one.where for one in unfit})
            if not kept.num_rows:
                return kept, Inputs({ONE: np.zeros((0, 1), np.float32)}), unfit
            kept, x, more = self._prepared(kept)
            return kept, x, [*unfit, *more]

    def _one_by_one(self, table: pa.Table, error: RatchetError) -> tuple[pa.Table, Inputs, list[Reject]]:
        if table.num_rows <= 1:
            where = table[WHERE].to_pylist()
            unfit = [Reject(where=one, code=UNPREPARED, reason=f"{one}: {error}") for one in where]
            return table.slice(0, 0), Inputs({ONE: np.zeros((0, 1), np.float32)}), unfit
        half = table.num_rows // 2
        parts = [self._prepared(table.slice(0, half)), self._prepared(table.slice(half))]
        rejects = [one for _, _, found in parts for one in found]
        held = [(kept, x) for kept, x, _ in parts if kept.num_rows]
        if not held:
            return table.slice(0, 0), parts[0][1], rejects
        return pa.concat_tables([kept for kept, _ in held]), Inputs.concat([x for _, x in held]), rejects

    def _targets(self, raw: pa.Table, notation: Notation) -> Array | None:
        """(N,) of the raw rows."""
        name = self._schema.label
        if name is None or not self._learns or name not in raw.column_names:
            return None
        try:
            column = read_column(
                name, one_array(raw[name]), self._schema.fields[name], notation, self._schema.missing_in(name)
            )
        except DataError:  # a column of another type: labels are extra here
            return None
        wrong = np.any([fault.rows for fault in column.faults], axis=0) if column.faults else np.zeros(len(raw), bool)
        values = column.values
        if self._names:
            values = pc.index_in(values, pa.array(self._names, values.type))
        y = np.asarray(pc.cast(values, pa.float64()).fill_null(math.nan), dtype=np.float64).copy()
        y[wrong] = math.nan
        return y


class _Notations:
    """How the cells of columns are written: as the version's dataset was read, else as each file tells."""

    def __init__(self, schema: Schema, how: RowFormat) -> None:
        open_numbers = [n for n, one in schema.fields.items() if one.kind == "number" and one.decimal is None]
        open_times = [n for n, one in schema.fields.items() if one.kind == "time" and one.format is None]
        said = how.options.get("decimal") or {}
        marks: dict[str, Any] = {
            **how.number_marks,
            **(said if isinstance(said, Mapping) else dict.fromkeys(open_numbers, said)),
        }
        known = Notation(
            decimal={name: mark for name, mark in marks.items() if mark},
            times={name: form for name, form in how.time_formats.items() if form},
        )
        self._schema, self._known = schema, known
        told = {*marks, *how.time_formats}.issuperset((*open_numbers, *open_times))
        self._recorded = Notation(decimal=marks, times=known.times) if told else None

    def of(self, raw: pa.Table) -> Notation:
        """Raises ``DataError`` for a table that is written otherwise than what was trained on."""
        if self._recorded is None:
            return seen_in(raw, self._schema, self._known)
        See(self._schema, self._recorded).add(raw)
        return declared(self._schema, self._recorded)


class RequestRows:
    """Of a version whose clients send tensors, pictures, or the numbers of a table: read as a request is."""

    def __init__(self, signature: Signature, how: RowFormat) -> None:
        self._signature, self._kind = signature, signature.input.kind
        self._label = str(how.options.get("label_column") or "label")
        self._id = how.options.get("id_column")
        spec = signature.input
        lacking = {name for name, _ in spec.defaults}
        self._schema = (
            Schema(fields={name: Field(kind="number", nullable=name in lacking) for name in spec.columns})
            if self._kind == "table"
            else None
        )
        self._notation = _Notations(self._schema, how) if self._schema is not None else None
        mark = how.options.get("decimal")
        self._label_mark = {**how.number_marks, **(mark if isinstance(mark, Mapping) else {})}.get(self._label, "")
        names = [PICTURE] if self._kind == "image" else [one.name for one in spec.specs]
        self.needed = frozenset(spec.columns if self._kind == "table" else names)

    def notation(self, raw: pa.Table) -> Notation | None:
        """See the protocol."""
        return self._notation.of(raw) if self._notation is not None else None

    def read(self, raw: pa.Table, notation: Notation | None = None) -> Iterator[FittingRows | Reject]:
        """See the protocol."""
        y = self._targets(raw)
        ids, at = ids_of(raw, self._id), {where: n for n, where in enumerate(raw[WHERE].to_pylist())}
        if self._schema is not None and self._notation is not None:
            lacking = [name for name in self._schema.fields if name not in raw.column_names]
            for name in lacking:
                if self._schema.fields[name].nullable:
                    raw = raw.append_column(name, pa.nulls(len(raw), pa.string()))
            how = self._notation.of(raw) if notation is None else notation
            raw, rejects = typed(raw, self._schema, how, labelled=False)
            yield from rejects
        rows = most_instances(self._signature)
        for start in range(0, raw.num_rows, rows):
            part = raw.slice(start, rows)
            if self._kind == "table" and self._signature.input.dtype == "float32":
                fits, x = self._plain(part)
                yield from self._told(x, part.filter(pa.array(fits))[WHERE].to_pylist(), ids, y, at)
                part = part.filter(pa.array(~fits))  # which value is wrong, says who reads a request
            places = part[WHERE].to_pylist()
            kept: list[int] = []
            for one in self._fitting(self._instances(part), places, kept):
                if isinstance(one, Reject):
                    yield one
                else:
                    yield from self._told(one, [places[number] for number in kept], ids, y, at)

    def _told(
        self, x: Inputs, where: list[str], ids: Mapping[str, str], y: Array | None, at: Mapping[str, int]
    ) -> Iterator[FittingRows]:
        if where:
            learnt = y[[at[place] for place in where]] if y is not None else None
            yield FittingRows(x=x, where=where, ids=[ids.get(place, place) for place in where], y=learnt)

    def _plain(self, part: pa.Table) -> tuple[Array, Inputs]:
        """(N,) which rows of a table of numbers a request may hold, and those as the model takes them: as `rows_of`
        makes them, column by column."""
        spec, defaults = self._signature.input, dict(self._signature.input.defaults)
        columns = [one_array(part[name]).fill_null(defaults.get(name, math.nan)) for name in spec.columns]
        wide = np.column_stack([np.asarray(one, dtype=np.float64) for one in columns])
        fits = np.asarray((np.abs(wide) <= float(np.finfo(spec.dtype).max)).all(axis=1))
        if spec.value_range is not None:
            fits &= ((wide >= spec.value_range[0]) & (wide <= spec.value_range[1])).all(axis=1)
        for name, low, high in self._signature.ranges:
            column = wide[:, spec.columns.index(name)]
            fits &= (column >= low) & (column <= high)
        return fits, Inputs({ONE: wide[fits].astype(np.float32)})

    def _instances(self, part: pa.Table) -> list[Any]:
        """As a request holds them. Raises ``DataError`` for a table that lacks a column."""
        spec, columns = self._signature.input, part.column_names
        if self._kind == "table":
            listed = part.select(list(spec.columns)).to_pylist()
            return [{name: value for name, value in row.items() if value is not None} for row in listed]
        names = [PICTURE] if self._kind == "image" else [one.name for one in spec.specs]
        missing = [name for name in names if name not in columns]
        if missing:
            there = ", ".join(name for name in columns if not name.startswith("@")) or "no column"
            raise DataError(f"no column {missing[0]!r}, got {there}; expected {', '.join(names)}")
        if self._kind == "image":
            return [{"image_base64": data} for data in part[PICTURE].to_pylist()]
        found = {name: [_as_json(one) for one in part[name].to_pylist()] for name in names}
        if not spec.tensors:
            return found[ONE]
        return [dict(zip(names, row, strict=True)) for row in zip(*found.values(), strict=True)]

    def _fitting(self, instances: list[Any], places: list[str], kept: list[int]) -> Iterator[Inputs | Reject]:
        """All that fit; one by one where not all do."""
        if not instances:
            return
        try:
            x = rows_of(instances, self._signature)
            kept += range(len(instances))
            yield x
            return
        except BadRequestError:
            pass
        for number, (one, where) in enumerate(zip(instances, places, strict=True)):
            try:
                rows_of([one], self._signature)
            except BadRequestError as error:
                name = error.field.removeprefix("instances[0]").lstrip(".")
                words = f"{where}: {f'{name}: ' if name else ''}{error.message}"
                yield Reject(where=where, code=UNFIT, reason=words, field=name.partition("[")[0])
            else:
                kept.append(number)
        rows = rows_at_once(sum(one.row_bytes for one in self._signature.input.specs))
        if kept:  # together they may be more than a request may be, which each of them is not
            parts = [kept[start : start + rows] for start in range(0, len(kept), rows)]
            yield Inputs.concat([rows_of([instances[number] for number in part], self._signature) for part in parts])

    def _targets(self, raw: pa.Table) -> Array | None:
        """(N,) of the raw rows, of a class or a number."""
        names = self._signature.classes
        column = next((name for name in (self._label, LABEL) if name in raw.column_names), None)
        if column is None or not learns_one_cell(self._signature.task):
            return None
        cells = one_array(raw[column])
        try:
            if names:
                values = pc.index_in(text_of(column, cells), pa.array(names, pa.string()))
                return np.asarray(pc.cast(values, pa.float64()).fill_null(math.nan), dtype=np.float64)
            field = Field(kind="number", nullable=True)
            found = read_column(column, cells, field, Notation(decimal={column: self._label_mark}), ())
        except DataError:
            return None
        y = np.asarray(found.values.fill_null(math.nan), dtype=np.float64).copy()
        for fault in found.faults:
            y[fault.rows] = math.nan
        return y


def _as_json(value: Any) -> Any:
    """A cell of text holds what a request would."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def rows_at_once(row_bytes: int) -> int:
    """How many rows are prepared together."""
    return max(1, min(AT_ONCE_ROWS, AT_ONCE_BYTES // max(1, row_bytes)))


def ids_of(raw: pa.Table, column: str | None) -> dict[str, str]:
    """BucketPlace -> id, where one is told: by a column, else by the format."""
    name = next((one for one in (column, ID) if one is not None and one in raw.column_names), None)
    if name is None:
        return {}
    cells = one_array(raw[name])
    told: Sequence[Any] = (
        cells.to_pylist() if is_text(cells.type) else [None if c is None else str(c)[:SHOWN] for c in cells.to_pylist()]
    )
    return {where: one for where, one in zip(raw[WHERE].to_pylist(), told, strict=True) if one}
