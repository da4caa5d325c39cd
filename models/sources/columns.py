"""The columns of a table that are no input: names, groups, labels, and what travels with a row for slices."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.delimited import Dialect, require
from mlratchet.models.sources.log_rows import AS_WRITTEN, OBJECT
from mlratchet.models.sources.pieces import WHERE, RawPiece
from mlratchet.models.sources.record import GROUP_COLUMN, Example, Reject
from pydantic import Field

RESERVED = "@"  # begins the names of columns that Ratchet adds


class TableOptions(SourceOptions):
    """Of every format in which a table names the examples."""

    id_column: str | None = None
    """Column of the stable id of a record; null: the file name for images, the row's digest for tables."""
    label_column: str = "label"
    group_column: str | None = None
    """Records of one group stay on one side of the split."""
    slice_columns: tuple[str, ...] | None = Field(default=None, strict=False)
    """Columns that travel with every row, for slices; inputs and labels may be among them. null: every column that is
    neither input nor label."""
    delimiter: Literal[",", ";", "\t", "|"] | None = None
    """What stands between two cells; null: found out per file."""
    quotes: Literal["cells", "none"] | None = None
    """cells: a quote opens a cell, line breaks and all; none: a quote is a character like any other; null: as `cells`,
    but a file is refused in which a quote may have been left open."""

    @property
    def dialect(self) -> Dialect:
        """What is declared of the tables."""
        return Dialect(delimiter=self.delimiter, quotes=self.quotes)

    def of_object(self, key: str) -> Self:
        """By which an object is read: rows of the inference log as Ratchet writes them, and not as it is delivered."""
        if self.inference_log is None or not key.startswith(OBJECT):
            return self
        return self.model_copy(update={n: how for n, how in AS_WRITTEN.items() if n in type(self).model_fields})

    def carried(self) -> tuple[str, ...] | None:
        """The slice columns, and the group."""
        if self.slice_columns is None or self.group_column is None:
            return self.slice_columns
        return (*self.slice_columns, GROUP_COLUMN)

    def named(self) -> tuple[str, ...]:
        """The columns that are named here and must be there."""
        return tuple(dict.fromkeys(column for column in (self.id_column, self.group_column) if column))

    def check(self, there: Sequence[str], where: str, columns: Sequence[str]) -> None:
        """Raises ``DataError`` with the nearest name when one of `columns`, or of those named here, is not `there`, and
        for a name that Ratchet keeps for itself."""
        for column in (*columns, *self.named()):
            require(there, where, column)
        for column in there:
            if column.startswith(RESERVED):
                raise DataError(f"{where}:1: column {column!r}: names with {RESERVED} are Ratchet's own; rename it")
        for column in self.slice_columns or ():
            require(there, where, column)

    def nameless(self, where: str, values: Mapping[str, str]) -> Reject | None:
        """Why a row without its id or group is set aside: it would be one with every other such row."""
        for code, column, what in self._naming():
            if column and not values.get(column):
                reason = f"{where}: column {column!r}: empty, expected {what}"
                return Reject(where=where, code=code, reason=reason, field=column)
        return None

    def _naming(self) -> tuple[tuple[str, str | None, str], ...]:
        return (
            ("missing_id", self.id_column, "the id of the row"),
            ("missing_group", self.group_column, "the group of the row"),
        )

    def with_names(self, one: RawPiece | Reject) -> Iterator[RawPiece | Reject]:
        """A piece without its rows that have no id or group, which are set aside."""
        if isinstance(one, Reject):
            yield one
            return
        table = one.table
        for code, column, what in self._naming():
            if column and column in table.column_names:
                empty = _is_empty(table[column])
                for where in table.filter(empty)[WHERE].to_pylist():
                    reason = f"{where}: column {column!r}: empty, expected {what}"
                    yield Reject(where=where, code=code, reason=reason, field=column)
                table = table.filter(_not(empty))
        if table.num_rows:
            yield one._replace(table=table)

    def travelling(self, values: Mapping[str, str], used: Collection[str]) -> dict[str, str]:
        """What travels of a row: `slice_columns`, or every column that is not among `used`; and the value of
        `group_column` as `@group`, by which intervals are clustered and queries are ranked."""
        names = [name for name in values if name not in used] if self.slice_columns is None else self.slice_columns
        group = {GROUP_COLUMN: values[self.group_column]} if self.group_column else {}
        return {name: values[name] for name in names} | group

    def example(self, where: str, values: Mapping[str, str], used: Collection[str]) -> Example | Reject:
        """A row of a table whose label, id and group are columns."""
        nameless = self.nameless(where, values)
        if nameless is not None:
            return nameless
        return Example(
            where=where,
            values=values,
            label=values.get(self.label_column),
            id=values[self.id_column] if self.id_column else None,
            group=values[self.group_column] if self.group_column else None,
            columns=self.travelling(values, used),
        )


def _is_empty(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    empty = pc.is_null(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return pc.or_(empty, pc.equal(pc.fill_null(pc.utf8_length(column), 0), 0))
    return empty


def _not(mask: Any) -> Any:
    import pyarrow.compute as pc

    return pc.invert(mask)
