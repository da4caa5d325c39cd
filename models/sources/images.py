"""The format `images`: a table names each picture and its label."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.delimited import BadRow, CsvTable, Row, set_aside
from mlratchet.models.sources.record import RawObject, Reject


class ImagesOptions(TableOptions):
    """A table of labels beside the pictures."""

    format: Literal["images"] = "images"
    labels: str = "labels.csv"
    """Key below the prefix of the table that names each picture and its label."""
    file_column: str = "file"
    """The column that holds the picture's key below the prefix."""


class Images(Format):
    """A picture per row of the table, in its order."""

    name = "images"
    Options = ImagesOptions
    options: ImagesOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row; a picture without a row, and a row without a picture, is rejected."""
        options = self.options
        pictures = {unicodedata.normalize("NFC", item.key): item for item in objects}
        labels = pictures.pop(unicodedata.normalize("NFC", options.labels), None)
        if labels is None:
            raise DataError(
                f"{options.prefix}{options.labels}: the labels file is not in the delivery; "
                "upload it or set source.labels"
            )
        table = CsvTable(fetch(labels), options.labels, options.dialect)
        options.check(table.columns, table.where, (options.file_column, options.label_column, *columns))
        named: dict[str, bool] = {}
        for row in table.rows():
            yield self._example(table, row, pictures, named, columns)
        for key in sorted(set(pictures) - set(named)):
            yield Reject(where=key, code="no_label", reason=f"{key}: no row of {options.labels} names this file")

    def _example(
        self,
        table: CsvTable,
        row: Row | BadRow,
        pictures: Mapping[str, RawObject],
        named: dict[str, bool],
        columns: Sequence[str],
    ) -> Example | Reject:
        """Of a row; the file that it names is added to `named` (whether the row can be used), so that a picture is not
        counted again for itself."""
        options = self.options
        if isinstance(row, BadRow):
            place = table.columns.index(options.file_column)
            if place < len(row.fields):
                named.setdefault(row.fields[place].strip(), False)
            return set_aside(table, row)
        where, file = f"{table.where}:{row.number}", row.values[options.file_column]
        if file not in pictures:
            return Reject(where=where, code="no_file", reason=f"{where}: file {file!r} is not in the delivery")
        if named.get(file):
            return Reject(where=where, code="duplicate_row", reason=f"{where}: file {file!r} has a row already")
        named[file] = True
        nameless = options.nameless(where, row.values)
        if nameless is not None:
            return nameless
        return Example(
            where=where,
            values=row.values,
            label=row.values[options.label_column],
            id=row.values[options.id_column] if options.id_column else file,
            group=row.values[options.group_column] if options.group_column else None,
            columns=options.travelling(row.values, {options.file_column, options.label_column, *columns}),
            picture=pictures[file],
        )
