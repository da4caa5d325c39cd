"""The format `images`: a table names each picture and its label."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from mlratchet.models.sources.base import Example, Fetch, Format
from mlratchet.models.sources.beside_table import beside_table
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.pieces import PICTURE, RawPiece, examples_as_tables, read_whole
from mlratchet.models.sources.ranged import Open
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
        yield from beside_table(objects, fetch, self.options, columns, kind=PICTURE)

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """The bytes of each picture (`picture`) that can be decoded, and what is known of it."""
        from mlratchet.models.sources.decoding import undecodable

        def fetch(item: RawObject) -> bytes:
            return read_whole(item, open_object)

        named = self.read(objects, fetch, columns=[name for name in columns or () if name != PICTURE])
        yield from examples_as_tables(named, open_object, check=undecodable)
