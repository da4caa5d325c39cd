"""The columns of a table that are no input: names, groups, labels, and what travels with a row for slices."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.delimited import CsvTable, Dialect, Row
from mlratchet.models.sources.record import GROUP_COLUMN, Reject
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

    def carried(self) -> tuple[str, ...] | None:
        """The slice columns, and the group."""
        if self.slice_columns is None or self.group_column is None:
            return self.slice_columns
        return (*self.slice_columns, GROUP_COLUMN)

    def check(self, table: CsvTable, columns: Sequence[str]) -> None:
        """Raises ``DataError`` with the nearest name when one of `columns`, or of those named here, is missing, and
        for a header with a name that Ratchet keeps for itself."""
        for column in (*columns, self.id_column, self.group_column):
            if column:
                table.require(column)
        for column in table.columns:
            if column.startswith(RESERVED):
                raise DataError(
                    f"{table.where}:1: column {column!r}: names with {RESERVED} are Ratchet's own; rename it"
                )
        for column in self.slice_columns or ():
            table.require(column)

    def nameless(self, table: CsvTable, row: Row) -> Reject | None:
        """Why a row without its id or group is set aside: it would be one with every other such row."""
        for code, column, what in (
            ("missing_id", self.id_column, "the id of the row"),
            ("missing_group", self.group_column, "the group of the row"),
        ):
            if column and not row.values[column]:
                where = f"{table.where}:{row.number}"
                return Reject(where=where, code=code, reason=f"{where}: column {column!r}: empty, expected {what}")
        return None

    def travelling(self, values: Mapping[str, str], used: Collection[str]) -> dict[str, str]:
        """What travels of a row: `slice_columns`, or every column that is not among `used`; and the value of
        `group_column` as `@group`, by which intervals are clustered and queries are ranked."""
        names = [name for name in values if name not in used] if self.slice_columns is None else self.slice_columns
        group = {GROUP_COLUMN: values[self.group_column]} if self.group_column else {}
        return {name: values[name] for name in names} | group
