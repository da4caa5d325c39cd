"""Files that a table names: pictures or sounds, each with a row. What has no partner is set aside, each once."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Fetch
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.delimited import BadRow, CsvTable, Row, set_aside
from mlratchet.models.sources.record import Example, RawObject, Reject


class NamingOptions(Protocol):
    """Where the table is, and which of its columns names a file; beside `TableOptions`."""

    labels: str
    file_column: str


def beside_table(
    objects: list[RawObject], fetch: Fetch, options: TableOptions, columns: Sequence[str], *, kind: str
) -> Iterator[Example | Reject]:
    """An example per row of the table of `options`, which has `labels` and `file_column`, too; `kind`: `picture` or
    `sound`. Raises ``DataError`` when the table is not there or lacks a column."""
    named: NamingOptions = options  # type: ignore[assignment]  # every format with a table beside files has them
    files = {unicodedata.normalize("NFC", item.key): item for item in objects}
    labels = files.pop(unicodedata.normalize("NFC", named.labels), None)
    if labels is None:
        raise DataError(
            f"{options.prefix}{named.labels}: the labels file is not in the delivery; upload it or set source.labels"
        )
    table = CsvTable(fetch(labels), named.labels, options.dialect)
    options.check(table.columns, table.where, (named.file_column, options.label_column, *columns))
    rows = _Rows(table, files, options, named, columns, kind)
    for row in table.rows():
        yield rows.example(row)
    for key in sorted(set(files) - set(rows.used)):
        yield Reject(where=key, code="no_label", reason=f"{key}: no row of {named.labels} names this file")


class _Rows:
    """The rows of one table, and which files they name (`used`: whether the row can be used), so that a file is not
    counted again for itself."""

    def __init__(
        self,
        table: CsvTable,
        files: Mapping[str, RawObject],
        options: TableOptions,
        named: NamingOptions,
        columns: Sequence[str],
        kind: str,
    ) -> None:
        self._table, self._files, self._options, self._named = table, files, options, named
        self._columns, self._kind = columns, kind
        self.used: dict[str, bool] = {}

    def example(self, row: Row | BadRow) -> Example | Reject:
        """Of a row, or why it is set aside."""
        table, options, column = self._table, self._options, self._named.file_column
        if isinstance(row, BadRow):
            place = table.columns.index(column)
            if place < len(row.fields):
                self.used.setdefault(row.fields[place].strip(), False)
            return set_aside(table, row)
        where, file = f"{table.where}:{row.number}", row.values[column]
        if file not in self._files:
            return Reject(where=where, code="no_file", reason=f"{where}: file {file!r} is not in the delivery")
        if self.used.get(file):
            return Reject(where=where, code="duplicate_row", reason=f"{where}: file {file!r} has a row already")
        self.used[file] = True
        nameless = options.nameless(where, row.values)
        if nameless is not None:
            return nameless
        item = self._files[file]
        return Example(
            where=where,
            values=row.values,
            label=row.values[options.label_column],
            id=row.values[options.id_column] if options.id_column else file,
            group=row.values[options.group_column] if options.group_column else None,
            columns=options.travelling(row.values, {column, options.label_column, *self._columns}),
            picture=item if self._kind == "picture" else None,
            sound=item if self._kind == "sound" else None,
        )
