"""The format `images`: a table names each picture and its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.delimited import CsvTable, RaggedRow, ragged
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
        pictures = {item.key: item for item in objects}
        labels = pictures.pop(options.labels, None)
        if labels is None:
            raise DataError(
                f"{options.prefix}{options.labels}: the labels file is not in the delivery; "
                "upload it or set source.labels"
            )
        table = CsvTable(fetch(labels), options.labels)
        options.check(table, (options.file_column, options.label_column, *columns))
        named: set[str] = set()
        for row in table.rows():
            if isinstance(row, RaggedRow):
                yield ragged(table, row)
                continue
            where, file = f"{table.where}:{row.number}", row.values[options.file_column]
            if file not in pictures:
                yield Reject(where=where, code="no_file", reason=f"{where}: file {file!r} is not in the delivery")
            elif file in named:
                yield Reject(where=where, code="duplicate_row", reason=f"{where}: file {file!r} has a row already")
            else:
                named.add(file)
                yield Example(
                    where=where,
                    values=row.values,
                    label=row.values[options.label_column],
                    id=row.values[options.id_column] if options.id_column else file,
                    group=row.values[options.group_column] if options.group_column else None,
                    columns=options.travelling(row.values, {options.file_column, options.label_column, *columns}),
                    picture=pictures[file],
                )
        for key in sorted(set(pictures) - named):
            yield Reject(where=key, code="no_label", reason=f"{key}: no row of {options.labels} names this file")
