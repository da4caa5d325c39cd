"""The format `csv`: every table of a delivery, an example per row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format, NumberOptions
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.delimited import BadRow, CsvTable, UnreadableTableError, set_aside
from mlratchet.models.sources.record import RawObject, Reject

SUFFIXES = (".csv", ".tsv", ".txt")


class CsvOptions(TableOptions, NumberOptions):
    """Tables whose delimiter, quoting and byte-order mark are found out."""

    format: Literal["csv"] = "csv"


class Csv(Format):
    """Every file below the prefix, in key order."""

    name = "csv"
    Options = CsvOptions
    options: CsvOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row of every table."""
        tables = [item for item in sorted(objects, key=lambda o: o.key) if item.key.lower().endswith(SUFFIXES)]
        if not tables:
            raise DataError(f"{self.options.prefix}: no table; expected files ending in {', '.join(SUFFIXES)}")
        for item in objects:
            if not item.key.lower().endswith(SUFFIXES):
                yield Reject(where=item.key, code="not_a_table", reason=f"{item.key}: not one of {', '.join(SUFFIXES)}")
        for item in tables:
            try:
                table = CsvTable(fetch(item), item.key, self.options.dialect)
            except UnreadableTableError as error:
                yield error.reject()
                continue
            self.options.check(table, columns)
            yield from self._rows(table, columns)

    def _rows(self, table: CsvTable, columns: Sequence[str]) -> Iterator[Example | Reject]:
        options = self.options
        for row in table.rows():
            if isinstance(row, BadRow):
                yield set_aside(table, row)
                continue
            nameless = options.nameless(table, row)
            if nameless is not None:
                yield nameless
                continue
            yield Example(
                where=f"{table.where}:{row.number}",
                values=row.values,
                label=row.values.get(options.label_column),
                id=row.values[options.id_column] if options.id_column else None,
                group=row.values[options.group_column] if options.group_column else None,
                columns=options.travelling(row.values, columns),
            )
