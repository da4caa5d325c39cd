"""The format `csv`: every table of a delivery, an example per row."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import BinaryIO, Literal

from mlratchet.models.errors import DataError
from mlratchet.models.sources.base import Example, Fetch, Format, NumberOptions
from mlratchet.models.sources.columns import TableOptions
from mlratchet.models.sources.csv_pieces import DelimitedPieces
from mlratchet.models.sources.delimited import BadRow, CsvTable, Dialect, UnreadableTableError, set_aside
from mlratchet.models.sources.headless import below_its_header
from mlratchet.models.sources.pieces import RawPiece
from mlratchet.models.sources.ranged import Open, opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.text_encoding import Encoding, as_utf8
from mlratchet.models.sources.unpacking import UnreadableObjectError, bare_name, read_bounded, unpacked
from pydantic import Field, field_validator

SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".tab")


class CsvOptions(TableOptions, NumberOptions):
    """Tables whose delimiter, quoting and byte-order mark are found out; also packed as .gz or .zst."""

    format: Literal["csv"] = "csv"
    encoding: Encoding | None = None
    """Of every file; null: UTF-8, or UTF-16 where a file begins with its mark. latin-1 and cp1252 must be declared:
    their bytes do not tell."""
    header: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1)
    """The names of the columns, of files whose first line is a row already; null: the first line has them."""

    @field_validator("header")
    @classmethod
    def _names_each_once(cls, header: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in header or ():
            if not name.strip() or name != name.strip():
                raise ValueError(f"{name!r}: a column needs a name, without blanks around it")
        repeated = sorted({name for name in header or () if (header or ()).count(name) > 1})
        if repeated:
            raise ValueError(f"{repeated[0]!r} is there twice")
        return header

    def opened(self, text: BinaryIO, key: str) -> tuple[BinaryIO, Dialect, int]:
        """A file with its header, its dialect, and how many lines of it were added here."""
        if self.header is None:
            return text, self.dialect, 0
        return *below_its_header(text, self.header, key, self.dialect), 1


class Csv(Format):
    """Every file below the prefix, in key order."""

    name = "csv"
    Options = CsvOptions
    alone = SUFFIXES
    options: CsvOptions

    def read(self, objects: list[RawObject], fetch: Fetch, *, columns: Sequence[str]) -> Iterator[Example | Reject]:
        """An example per row of every table."""
        tables = yield from tables_among(objects, SUFFIXES, self.options.prefix)
        for item in tables:
            options = self.options.of_object(item.key)
            try:
                with as_utf8(unpacked(opening_whole(fetch)(item), item), item, options.encoding) as text:
                    source, dialect, added = options.opened(text, item.key)
                    table = CsvTable(read_bounded(source, item), item.key, dialect, skipped=-added)
            except (UnreadableTableError, UnreadableObjectError) as error:
                yield error.reject()
                continue
            self.options.check(table.columns, item.key, columns)
            yield from self._rows(table, columns)

    def tables(
        self, objects: list[RawObject], open_object: Open, columns: Sequence[str] | None = None
    ) -> Iterator[RawPiece | Reject]:
        """Every file in pieces; memory does not grow with a file."""
        named = self.options.named()
        for item in (yield from tables_among(objects, SUFFIXES, self.options.prefix)):
            options = self.options.of_object(item.key)
            try:
                with as_utf8(unpacked(open_object(item), item), item, options.encoding) as text:
                    source, dialect, added = options.opened(text, item.key)
                    reading = DelimitedPieces(source, item.key, dialect, made_up_lines=added)
                    head = reading.head()
                    self.options.check(head.table.columns, item.key, columns or ())
                    wanted = None if columns is None else [*columns, *named]
                    for one in reading.pieces(head, wanted):
                        yield from self.options.with_names(one)
            except (UnreadableTableError, UnreadableObjectError) as error:
                yield error.reject()

    def _rows(self, table: CsvTable, columns: Sequence[str]) -> Iterator[Example | Reject]:
        options = self.options
        for row in table.rows():
            if isinstance(row, BadRow):
                yield set_aside(table, row)
                continue
            yield options.example(f"{table.where}:{row.number}", row.values, columns)


def tables_among(
    objects: list[RawObject], suffixes: tuple[str, ...], prefix: str
) -> Generator[Reject, None, list[RawObject]]:
    """The objects whose names end in one of `suffixes`, packed or not, in key order; the others are set aside.

    Raises ``DataError`` when there is none.
    """
    found = [item for item in sorted(objects, key=lambda o: o.key) if bare_name(item.key).endswith(suffixes)]
    if not found:
        raise DataError(f"{prefix}: no table; expected files ending in {', '.join(suffixes)}")
    for item in objects:
        if not bare_name(item.key).endswith(suffixes):
            yield Reject(where=item.key, code="not_a_table", reason=f"{item.key}: not one of {', '.join(suffixes)}")
    return found
