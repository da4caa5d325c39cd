"""How the cells of columns are written: the decimal mark of numbers and the format of times, decided once per column.

Seen piece by piece over the first delivery (`See`), then decided; what is declared wins, and what is ambiguous is an
error with both readings. Later deliveries are held against what was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.schema.cells import is_text, one_array, text_of
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.number_cells import see_numbers
from mlratchet.models.schema.numbers import Mark, Seen, check_file, column_with_commas, decide
from mlratchet.models.schema.time_formats import ISO
from mlratchet.models.schema.times import check_times, decide_format

WHERE = "@where"
DIFFERENT = 10_000  # cells of a time column that are kept to tell its format


@dataclass(frozen=True, kw_only=True)
class Notation:
    """As decided."""

    decimal: Mapping[str, Mark] = field(default_factory=dict)  # of number columns; empty: nothing is known
    times: Mapping[str, str] = field(default_factory=dict)  # formats, as `Field.format` has them


class See:
    """What the pieces of a delivery show of the columns that a schema leaves open."""

    def __init__(self, schema: Schema, known: Notation | None = None) -> None:
        """`known`: as decided at earlier deliveries, which pieces are held against; the schema wins."""
        self._schema = schema
        self._before = known
        self._known = declared(schema, known)
        self._numbers: dict[str, Seen] = {}
        self._times: dict[str, pa.Array] = {}
        self._first: dict[str, str] = {}  # place of a time column's first cell

    def add(self, raw: pa.Table) -> None:
        """One piece, with ``@where``. Columns that it lacks, and those of a type of their own, show nothing."""
        where, known = one_array(raw[WHERE]), self._before
        for name, one in self._schema.fields.items():
            if one.kind not in ("number", "time") or name not in raw.column_names:
                continue
            cells = one_array(raw[name])
            if not is_text(cells.type):
                continue
            cells = text_of(name, cells, self._schema.missing_in(name))
            if one.kind == "number" and one.decimal is None:
                self._see_number(name, cells, where)
            elif one.kind == "time" and one.format is None and known is not None and name in known.times:
                check_times(name, cells, where, known.times[name])
            elif one.kind == "time" and name not in self._known.times:
                self._first.setdefault(name, where[0].as_py() if len(where) else "")
                before = self._times.get(name, pa.array([], type=pa.string()))
                if len(before) < DIFFERENT:
                    self._times[name] = pa.concat_arrays([before, pc.unique(cells.drop_null())])[:DIFFERENT]

    def _see_number(self, name: str, cells: pa.Array, where: pa.Array) -> None:
        mark = self._known.decimal.get(name, "")
        piece = Seen()
        see_numbers(piece, cells, where)
        if name in self._known.decimal:
            check_file(name, piece, mark, beside=column_with_commas(self._known.decimal))
            if mark:
                return
        _merge(self._numbers.setdefault(name, Seen()), piece)

    def decide(self) -> Notation:
        """Of every column. Raises ``DataError`` for what can be read in two ways, and for two notations in one."""
        known = {name: mark for name, mark in self._known.decimal.items() if mark}
        decimal = decide(self._numbers, known=known) | known
        found = {
            name: decide_format(name, cells, self._schema.fields[name], where=self._first[name])
            for name, cells in self._times.items()
        }
        times = {name: form for name, form in found.items() if form is not None}
        return Notation(decimal=decimal, times={**times, **self._known.times})


def declared(schema: Schema, known: Notation | None = None) -> Notation:
    """What the schema says, beside what is known."""
    before = known or Notation()
    marks: dict[str, Mark] = {name: one.decimal for name, one in schema.fields.items() if one.decimal is not None}
    forms = {name: one.format for name, one in schema.fields.items() if one.format is not None}
    return Notation(decimal={**before.decimal, **marks}, times={**before.times, **forms})


def as_logged(schema: Schema) -> Notation:
    """Of rows that the inference log gives, however deliveries are written."""
    kinds = {name: one.kind for name, one in schema.fields.items()}
    marks: dict[str, Mark] = {name: "." for name, kind in kinds.items() if kind == "number"}
    return Notation(decimal=marks, times={name: ISO for name, kind in kinds.items() if kind == "time"})


def seen_in(raw: pa.Table, schema: Schema, known: Notation | None = None) -> Notation:
    """Of a delivery in one piece. Raises as `See.decide`."""
    sight = See(schema, known)
    sight.add(raw)
    return sight.decide()


def _merge(whole: Seen, piece: Seen) -> None:
    for shape, count in piece.counts.items():
        whole.counts[shape] = whole.counts.get(shape, 0) + count
        whole.first.setdefault(shape, piece.first[shape])
