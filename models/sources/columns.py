"""The columns of a record that are no input: they travel with the row, for slices."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from mlratchet.models.errors import DataError
from mlratchet.models.sources.csv import CsvTable
from mlratchet.models.sources.record import GROUP_COLUMN

RESERVED = "@"  # begins the names of columns that Ratchet adds


def check_columns(table: CsvTable, source: Mapping[str, Any]) -> None:
    """Raises ``DataError`` with the nearest name when a column of `source.slice_columns` is missing, and for a header
    with a name that Ratchet keeps for itself."""
    for column in table.columns:
        if column.startswith(RESERVED):
            raise DataError(f"{table.where}:1: column {column!r}: names with {RESERVED} are Ratchet's own; rename it")
    for column in source.get("slice_columns") or ():
        table.require(column)


def slice_values(values: Mapping[str, str], source: Mapping[str, Any], used: Set[str]) -> dict[str, str]:
    """What travels of a row: `source.slice_columns`, or every column that is not among `used`; and the value of
    `source.group_column` as `@group`, by which intervals are clustered and queries are ranked."""
    wanted, group = source.get("slice_columns"), source.get("group_column")
    names = [name for name in values if name not in used] if wanted is None else wanted
    return {name: values[name] for name in names} | ({GROUP_COLUMN: values[group]} if group else {})
