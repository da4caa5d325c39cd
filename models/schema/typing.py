"""Raw columns become typed ones by the schema: a row that breaks a rule is set aside with field, rule and value.

Nothing is guessed per cell: how numbers and times are written is decided per column (`notation`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.schema.cells import mask, one_array, text_of
from mlratchet.models.schema.fields import RESERVED, Schema
from mlratchet.models.schema.kinds import SHOWN, Column, Fault, read_column
from mlratchet.models.schema.labels import named, yes_or_no
from mlratchet.models.schema.notation import WHERE, Notation, seen_in
from mlratchet.models.schema.reject import Reject, place_of

ID, LABEL, GROUP, TIME = "@id", "@label", "@group", "@time"
OF_A_LABEL = {"missing_value": "missing_label", "unknown_value": "unknown_label"}


def typed(
    raw: pa.Table, schema: Schema, notation: Notation | None = None, *, labelled: bool = True
) -> tuple[pa.Table, list[Reject]]:
    """The rows that keep the rules, typed, and what was set aside, each row once by its first broken rule.

    Args:
        raw: Columns as a format read them: strings, or types of their own; ``@where`` says file and row.
        schema: Other columns than its own are left out.
        notation: Of the columns, as decided at the first delivery; None: as these rows tell.
        labelled: Without, inputs alone are asked for and held against their rules, as of a request.

    Returns a table with a column per field (the label aside), then ``@id``, ``@label``, ``@group``, ``@time`` where
    the schema names one (and `labelled`), and ``@where``. Raises ``DataError`` for a column that is missing, or of
    another type.
    """
    _refuse_missing_columns(raw, schema, labelled=labelled)
    places = one_array(raw[WHERE])
    notation = seen_in(raw, schema, notation) if notation is None else notation
    sorting = _Sorting(places)
    columns: dict[str, pa.Array] = {}
    for name, field in (schema.fields if labelled else schema.inputs).items():
        with _in_file(places):
            column = read_column(name, one_array(raw[name]), field, notation, schema.missing_in(name))
        if name in schema.labels:
            column = yes_or_no(column, field)
        sorting.hold(name, column, label=name in schema.targets)
        columns[LABEL if name == schema.label else name] = column.values
    for role, held, rule in ((ID, schema.id, "missing_id"), (GROUP, schema.group, "missing_group")) if labelled else ():
        if held is not None:
            cells = one_array(raw[held])
            with _in_file(places):
                text = text_of(held, cells)
            empty = Fault(rows=np.asarray(text.is_null()), rule=rule, words=lambda _: "empty, expected a name")
            sorting.hold(held, Column(values=text, faults=(empty,), raw=cells), label=False)
            columns[role] = text
    if schema.labels and labelled:
        columns[LABEL] = named({name: columns.pop(name) for name in schema.labels})
    if schema.time is not None and labelled:
        columns[TIME] = columns[schema.time]
    order = [name for name in columns if not name.startswith(RESERVED)]
    order += [name for name in (ID, LABEL, GROUP, TIME) if name in columns]
    table = pa.table({**{name: columns[name] for name in order}, WHERE: places})
    rejects = sorting.rejects()
    return (table.filter(pa.array(~sorting.broken)) if rejects else table), rejects


@contextmanager
def _in_file(places: pa.Array) -> Iterator[None]:
    """What is wrong with a column as a whole is told with its file."""
    try:
        yield
    except DataError as error:
        file = place_of(places[0].as_py())[0] if len(places) else ""
        raise DataError(f"{file}: {error}" if file else str(error)) from error


class _Sorting:
    """Which rows (N,) were set aside, and why."""

    def __init__(self, places: pa.Array) -> None:
        self._places = places
        self.broken = np.zeros(len(places), dtype=bool)
        self._why: dict[int, Reject] = {}

    def hold(self, name: str, column: Column, *, label: bool) -> None:
        """Set aside what breaks a rule of this column, and none before it."""
        for fault in column.faults:
            for row in np.flatnonzero(fault.rows & ~self.broken).tolist():
                rule, words = fault.told(row)
                where = self._places[row].as_py()
                self._why[row] = Reject(
                    where=where,
                    code=OF_A_LABEL.get(rule, rule) if label else rule,
                    reason=f"{where}: {'label' if label else 'column'} {name!r}: {words}",
                    field=name,
                    value=_shown(column.raw[row]),
                )
            self.broken |= fault.rows

    def rejects(self) -> list[Reject]:
        """In the order of the rows."""
        return [self._why[row] for row in sorted(self._why)]


def _shown(cell: pa.Scalar) -> str:
    try:
        value: Any = cell.as_py()
    except (OverflowError, ValueError):  # a time that Python has no name for
        value = cell.value
    if value is None:
        return ""
    return f"{len(value):,} bytes" if isinstance(value, bytes) else str(value)[:SHOWN]


def _refuse_missing_columns(raw: pa.Table, schema: Schema, *, labelled: bool) -> None:
    there = [name for name in raw.column_names if not name.startswith(RESERVED)]
    file = place_of(raw[WHERE][0].as_py())[0] if len(raw) else ""
    again = " Rename it there or in the schema, and deliver the file again under its name" if labelled else ""
    for name in schema.columns if labelled else schema.inputs:
        if name not in there:
            hint = nearest_hint(name, [one for one in there if one not in schema.columns], otherwise="deliver it")
            raise DataError(f"{file}: column {name!r} is missing; got {', '.join(there)}; {hint}{again}")


def without_information(table: pa.Table) -> dict[str, str]:
    """Of a typed table the columns that tell no two rows apart -> `empty` (never given) or `constant`."""
    found = {}
    for name in table.column_names:
        if name.startswith(RESERVED) or pa.types.is_nested(table[name].type):
            continue
        column = table[name]
        if column.null_count == len(column):
            found[name] = "empty"
        elif column.null_count == 0 and mask(one_array(pc.equal(column, column[0]))).all():
            found[name] = "constant"
    return found
