"""Tables without a header: the names that a pipeline file gives them, written above their first row."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import BinaryIO, Literal, cast

from mlratchet.models.sources.delimited import (
    SAMPLE_LINES,
    Dialect,
    UnreadableTableError,
    decode_text,
    find_delimiter,
)

FIRST_BYTES = 64 << 10  # that tell the delimiter


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


def below_its_header(
    source: BinaryIO, names: Sequence[str], key: str, dialect: Dialect, *, option: str = "source.header"
) -> tuple[BinaryIO, Dialect]:
    """The file (UTF-8) with a line of `names` above it, and its dialect with the delimiter.

    Raises ``UnreadableTableError`` where its rows have another number of cells, or the first one is the names.
    """
    first = source.read(FIRST_BYTES)
    text = decode_text(first[: first.rfind(b"\n") + 1] or first, key)
    lines = list(io.StringIO(text, newline=""))
    delimiter = dialect.delimiter or find_delimiter(lines, key)
    rows = _first_rows(lines, replace(dialect, delimiter=delimiter))
    if rows and [cell.strip() for cell in rows[0]] == list(names):
        words = f"its first line is what {option} names; remove {option}, or the line"
        raise UnreadableTableError("bad_header", f"{key}:1", words, records=len(lines) - 1)
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(names)
    if all(len(row) != len(names) for row in rows) and rows:  # else those that are ragged are set aside alone
        words = f"its rows have {width} cells, and {option} names {len(names)} columns"
        raise UnreadableTableError("bad_header", f"{key}:1", words, records=len(lines))
    above = io.StringIO()
    if rows:  # an empty file stays one
        csv.writer(above, delimiter=delimiter, lineterminator="\n").writerow(names)
    below = _Below(above.getvalue().encode() + first, source)
    return cast(BinaryIO, io.BufferedReader(below, 1 << 20)), replace(dialect, delimiter=delimiter)


def _first_rows(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """Cells of the first lines that are not blank, as far as they are rows."""
    quoting: Literal[0, 3] = csv.QUOTE_NONE if dialect.quotes == "none" else csv.QUOTE_MINIMAL
    reader = csv.reader(
        (line for line in lines if line.strip()), delimiter=str(dialect.delimiter), skipinitialspace=True,
        quoting=quoting,
    )  # fmt: skip
    return list(islice(reader, SAMPLE_LINES))
