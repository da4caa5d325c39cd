"""Tables without a header: the names that a pipeline file gives them, written above their first row."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import BinaryIO, Literal, cast

from mlratchet.models.sources.delimited import (
    SAMPLE_LINES,
    Dialect,
    UnreadableTableError,
    decode_text,
    find_delimiter,
    refuse_no_table,
)
from mlratchet.models.sources.unpacking import UnreadableObjectError

FIRST_BYTES = 64 << 10  # that tell delimiter and cells


class _Below(io.RawIOBase):
    """A file below some more bytes."""

    def __init__(self, above: bytes, source: BinaryIO) -> None:
        self._above, self._source = above, source

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        if self._above:
            size = min(len(into), len(self._above))
            into[:size], self._above = self._above[:size], self._above[size:]
            return size
        data = self._source.read(len(into))
        into[: len(data)] = data
        return len(data)


@dataclass(frozen=True, kw_only=True)
class FirstRows:
    """What the first bytes of a file (UTF-8) tell of it."""

    data: bytes
    dialect: Dialect  # with its delimiter
    rows: list[list[str]]  # the first ones, stripped; fewer than 21

    @property
    def width(self) -> int:
        """Cells of most of its rows; 0: it has none."""
        return Counter(map(len, self.rows)).most_common(1)[0][0] if self.rows else 0


def first_rows_of(source: BinaryIO, key: str, dialect: Dialect) -> FirstRows:
    """Read as much as tells delimiter and cells. Raises ``DataError`` where two delimiters do, or for no table."""
    data = source.read(FIRST_BYTES)
    text = decode_text(data[: data.rfind(b"\n") + 1] or data, key)
    lines = list(io.StringIO(text, newline=""))
    refuse_no_table(lines, key)
    dialect = replace(dialect, delimiter=dialect.delimiter or find_delimiter(lines, key))
    return FirstRows(data=data, dialect=dialect, rows=_first_rows(lines, dialect))


def names_itself(first: Sequence[str], header: Sequence[str]) -> bool:
    """Whether the first line of a file, for which names are declared, is names of columns, each once, and no row."""
    return bool(first) and len(set(first)) == len(first) and set(header).issuperset(first)


def below_its_header(
    source: BinaryIO, names: Sequence[str], key: str, dialect: Dialect, *, option: str = "source.header"
) -> tuple[BinaryIO, Dialect]:
    """The file (UTF-8) with a line of `names` above it, and its dialect with the delimiter.

    Raises ``UnreadableTableError`` where its rows have another number of cells, or the first one is the names.
    """
    begun = first_rows_of(source, key, dialect)
    rows = begun.rows
    if rows and rows[0] == list(names):
        words = f"its first line is what {option} names; remove {option}, or the line"
        raise UnreadableTableError("bad_header", f"{key}:1", words, records=lines_in(begun, source) - 1)
    if all(len(row) != len(names) for row in rows) and rows:  # else those that are ragged are set aside alone
        words = f"its rows have {begun.width} cells, and {option} names {len(names)} columns"
        raise UnreadableTableError("bad_header", f"{key}:1", words, records=lines_in(begun, source))
    above = io.StringIO()
    if rows:  # an empty file stays one
        csv.writer(above, delimiter=str(begun.dialect.delimiter), lineterminator="\n").writerow(names)
    below = _Below(above.getvalue().encode() + begun.data, source)
    return cast(BinaryIO, io.BufferedReader(below, 1 << 20)), begun.dialect


def lines_in(begun: FirstRows, source: BinaryIO) -> int:
    """Of a whole file that is refused, behind whose beginning `source` stands: as many rows as it seems to hold."""
    ends, returns, last = begun.data.count(b"\n"), begun.data.count(b"\r"), begun.data[-1:]
    with suppress(UnreadableObjectError):  # it is refused already
        while data := source.read(1 << 20):
            ends, returns, last = ends + data.count(b"\n"), returns + data.count(b"\r"), data[-1:]
    return (ends or returns) + (last not in (b"", b"\n", b"\r"))


def _first_rows(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """Cells of the first lines that are not blank, as far as they are rows."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if dialect.quotes == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(
        (line for line in lines if line.strip()), delimiter=str(dialect.delimiter), skipinitialspace=True,
        quoting=quoting,
    )  # fmt: skip
    return [[cell.strip() for cell in row] for row in islice(reader, SAMPLE_LINES)]
