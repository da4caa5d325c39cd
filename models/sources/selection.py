"""What of a delivery is read: objects by folder and date in their names, rows by a condition on their columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING, Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.expressions import ExpressionError, RowCondition, parse_condition
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.record import Example, RawObject, Reject
from pydantic import Field, field_validator

if TYPE_CHECKING:
    import pyarrow as pa

DATE = re.compile(r"(?<!\d)(\d{4})([-_/]?)(\d{2})\2(\d{2})(?!\d)")
TOGETHER = 4_096  # examples that a condition is asked of at once


class Selection(StrictModel):
    """Of the objects and rows of a delivery; what is left out is none of it and no reject."""

    below: tuple[str, ...] = Field(default=(), strict=False)
    """Folders or beginnings of names below the prefix, e.g. `[shop-1/, shop-2/]`; empty: all."""
    since: date | None = Field(default=None, strict=False)
    """Objects whose name holds a date (2026-01-31, 2026/01/31, 20260131) before it are left out."""
    until: date | None = Field(default=None, strict=False)
    """Objects whose name holds a date from it on are left out."""
    rows: str | None = None
    """A condition on columns, e.g. `age >= 18 and country in ('DE', 'FR')`; a row for which it is not true is left
    out."""

    @field_validator("rows")
    @classmethod
    def _is_a_condition(cls, text: str | None) -> str | None:
        if text is not None:
            parse_condition(text)
        return text

    @property
    def condition(self) -> RowCondition | None:
        """On rows."""
        return parse_condition(self.rows) if self.rows is not None else None

    def objects(self, objects: Sequence[RawObject], *, always: Iterable[str] = ()) -> list[RawObject]:
        """Those that are read, in their order; `always`: keys of tables that name the others.

        Raises ``DataError`` where none is left, and where a date is asked for and a name holds none.
        """
        kept = [item for item in objects if item.key in set(always) or self._is_read(item)]
        if not kept:
            raise DataError(f"source.select leaves out all {len(objects)} objects; correct it or deliver others")
        return kept

    def _is_read(self, item: RawObject) -> bool:
        if self.below and not item.key.startswith(self.below):
            return False
        if self.since is None and self.until is None:
            return True
        found = date_in(item.key)
        if found is None:
            raise DataError(
                f"{item.key}: no date in its name, and source.select asks for one; name it with one (2026-01-31), or "
                "select by folder"
            )
        return (self.since is None or found >= self.since) and (self.until is None or found < self.until)

    def examples(self, found: Iterable[Example | Reject]) -> Iterator[Example | Reject]:
        """Those whose columns fulfil the condition, and every reject."""
        condition = self.condition
        if condition is None:
            yield from found
            return
        rest = iter(found)
        while some := list(islice(rest, TOGETHER)):
            yield from _chosen(some, condition)

    def pieces(self, found: Iterable[RawPiece | Reject]) -> Iterator[RawPiece | Reject]:
        """Likewise of pieces; each says how many rows were left out of it."""
        condition = self.condition
        for one in found:
            if condition is None or isinstance(one, Reject):
                yield one
                continue
            kept = condition.chosen(_with_columns(one.table, condition, one.key))
            yield one._replace(table=kept, left_out=one.table.num_rows - kept.num_rows)


def date_in(key: str) -> date | None:
    """The last date in the name of an object; None where there is none."""
    found = None
    for year, _, month, day in DATE.findall(key):
        try:
            found = date(int(year), int(month), int(day))
        except ValueError:
            continue
    return found


def _chosen(some: Sequence[Example | Reject], condition: RowCondition) -> Iterator[Example | Reject]:
    import pyarrow as pa

    rows = [one for one in some if isinstance(one, Example)]
    columns: dict[str, Any] = {}
    for name in condition.columns:
        cells = [_cell(one, name) for one in rows]
        if rows and all(cell is None for cell in cells):
            continue
        columns[name] = pa.array(cells, pa.string())
    table = pa.table({**columns, "@row": pa.array(range(len(rows)), pa.int64())})
    where = rows[0].where if rows else ""
    chosen = set(condition.chosen(_with_columns(table, condition, where))["@row"].to_pylist()) if rows else set()
    number = 0
    for one in some:
        if isinstance(one, Reject):
            yield one
            continue
        if number in chosen:
            yield one
        number += 1


def _cell(one: Example, name: str) -> str | None:
    cell = one.values.get(name)
    return cell if cell is None or isinstance(cell, str) else str(cell)


def _with_columns(table: pa.Table, condition: RowCondition, where: str) -> pa.Table:
    for name in condition.columns:
        if name not in table.column_names:
            hint = nearest_hint(name, table.column_names, otherwise="name another column")
            raise DataError(f"{where}: source.select.rows: no column {name!r}; {hint}")
    return table


__all__ = ["ExpressionError", "Selection", "date_in"]
