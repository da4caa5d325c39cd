"""A delimited file of any size in pieces: cut between two records, read column by column where that is certain to be
the same, row by row where it is not. As many lines are accounted for as the file has."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from mlratchet.models.sources.delimited import (
    BadRow,
    CsvTable,
    Dialect,
    UnreadableTableError,
    decode_text,
    find_delimiter,
    set_aside,
)
from mlratchet.models.sources.pieces import PIECE_TABLE_BYTES, WHERE, RawPiece, with_places
from mlratchet.models.sources.plain_rows import plain_table
from mlratchet.models.sources.record import Reject
from mlratchet.models.sources.record_ends import NEWLINE, RETURN, last_record_end
from mlratchet.models.sources.unpacking import UnreadableObjectError

if TYPE_CHECKING:
    pass

HEAD_BYTES = 64 << 10  # that tell header and delimiter
LARGEST_PIECE_BYTES = 64 << 20  # in which a record must have ended


@dataclass(frozen=True, kw_only=True)
class TableHead:
    """What the beginning of a file tells of all of it."""

    table: CsvTable  # of the first rows
    lines: bytes  # of the header, and blank ones before it
    line_count: int
    dialect: Dialect  # with its delimiter
    plain: bool  # every column has a name
    line_end: int


class DelimitedPieces:
    """One file, as UTF-8. Memory: a few pieces."""

    def __init__(
        self,
        source: BinaryIO,
        key: str,
        dialect: Dialect,
        piece_bytes: int = PIECE_TABLE_BYTES,
        *,
        made_up_lines: int = 0,
    ) -> None:
        """`made_up_lines`: at the beginning of `source`, that the file does not have."""
        self._made_up = made_up_lines
        self._source, self._key, self._dialect, self._piece_bytes = source, key, dialect, piece_bytes
        self._waiting = b""
        self._ended = False
        self._lines_before = 0

    def head(self) -> TableHead:
        """Read the beginning. Raises ``UnreadableTableError`` for a file of which nothing can be used, ``DataError``
        where its delimiter is not to be told, ``UnreadableObjectError`` where its bytes are damaged."""
        self._fill(self._piece_bytes)
        try:
            return self._head()
        except UnreadableTableError as error:
            lines = self._lines_before + _line_count(self._waiting) + self._count_rest()
            error.records = max(1, lines - 1)
            raise

    def _head(self) -> TableHead:
        line_end = NEWLINE if b"\n" in self._waiting or b"\r" not in self._waiting else RETURN
        start = self._start(line_end)
        table = CsvTable(start, self._key, self._dialect)
        header = _first_lines(start, table.header_ends, line_end)
        self._waiting = self._waiting[len(header) :]
        self._lines_before = table.header_ends - self._made_up
        return TableHead(
            table=table,
            lines=header,
            line_count=table.header_ends,
            dialect=replace(self._dialect, delimiter=table.delimiter),
            plain=all(table.columns) and table.header_width == len(table.columns) and line_end == NEWLINE,
            line_end=line_end,
        )

    def _start(self, line_end: int) -> bytes:
        """The first records of the file, whole."""
        while True:
            size = min(len(self._waiting), HEAD_BYTES)
            while size < len(self._waiting) or not self._ended:
                start = self._waiting[:size]
                delimiter = self._dialect.delimiter or self._delimiter_of(start, line_end)
                quotes = self._dialect.quotes != "none"
                end = last_record_end(start, delimiter, quotes_open_cells=quotes, line_end=line_end)
                if start[:end].strip():
                    return start[:end]
                if size >= len(self._waiting):
                    break
                size = min(2 * size, len(self._waiting))
            if self._ended or len(self._waiting) >= LARGEST_PIECE_BYTES:
                return self._waiting
            self._fill(2 * len(self._waiting))

    def _delimiter_of(self, start: bytes, line_end: int) -> str:
        whole = start[: start.rfind(bytes([line_end])) + 1] or start
        text = decode_text(whole, self._key)
        return find_delimiter(list(io.StringIO(text, newline="")), self._key)

    def pieces(self, head: TableHead, wanted: Sequence[str] | None) -> Iterator[RawPiece | Reject]:
        """Every row behind the header, or why it is set aside."""
        number = 0
        quotes = head.dialect.quotes != "none"
        delimiter = str(head.dialect.delimiter)
        want = self._piece_bytes
        while True:
            try:
                self._fill(want)
            except UnreadableObjectError as error:
                yield from self._last_words(head, error, wanted, number)
                return
            if not self._waiting:
                return
            end = len(self._waiting)
            if not self._ended:
                end = last_record_end(self._waiting, delimiter, quotes_open_cells=quotes, line_end=head.line_end)
                end = _before_blank_rows(self._waiting, end, delimiter, head.line_end)
            if not end and want < LARGEST_PIECE_BYTES:
                want *= 2
                continue
            if not end:
                yield self._endless()
                return
            body, self._waiting, want = self._waiting[:end], self._waiting[end:], self._piece_bytes
            for one in self._piece(body, head, wanted, number):
                number += isinstance(one, RawPiece)
                yield one
            self._lines_before += _line_count(body)

    def _piece(
        self, body: bytes, head: TableHead, wanted: Sequence[str] | None, number: int
    ) -> Iterator[RawPiece | Reject]:
        quotes = head.dialect.quotes != "none"
        found = None
        if head.plain:
            names, delimiter = head.table.columns, str(head.dialect.delimiter)
            found = plain_table(body, names, delimiter, quotes_open_cells=quotes, wanted=wanted)
        if found is not None:
            yield RawPiece(self._key, number, with_places(found, self._key, self._lines_before + 1))
            return
        skipped = self._lines_before - head.line_count
        try:
            table = CsvTable(head.lines + body, self._key, head.dialect, skipped=skipped)
        except UnreadableTableError as error:
            yield error.reject()
            return
        yield from careful_pieces(table, number, wanted)

    def _last_words(
        self, head: TableHead, error: UnreadableObjectError, wanted: Sequence[str] | None, number: int
    ) -> Iterator[RawPiece | Reject]:
        """Whole records before the damage are used; how many were behind it, nobody knows."""
        quotes = head.dialect.quotes != "none"
        end = last_record_end(
            self._waiting, str(head.dialect.delimiter), quotes_open_cells=quotes, line_end=head.line_end
        )
        if end:
            yield from self._piece(self._waiting[:end], head, wanted, number)
        yield error.reject()

    def _endless(self) -> Reject:
        line = self._lines_before + 1
        lost = _line_count(self._waiting) + self._count_rest()
        where = f"{self._key}:{line}"
        words = f"a quote takes in more than {LARGEST_PIECE_BYTES >> 20} MB from here on"
        reason = f"{where}: {words}; close or double it, or set source.quotes: none"
        return Reject(where=where, code="open_quote", reason=reason, records=max(1, lost))

    def _fill(self, size: int) -> None:
        parts = [self._waiting]
        have = len(self._waiting)
        try:
            while have < size and not self._ended:
                data = self._source.read(size - have)
                self._ended = not data
                parts.append(data)
                have += len(data)
        finally:
            self._waiting = b"".join(parts)

    def _count_rest(self) -> int:
        self._waiting, count = b"", 0
        try:
            while data := self._source.read(1 << 20):
                count += data.count(b"\n")
        except UnreadableObjectError:
            pass  # the file is refused already
        return count


def careful_pieces(table: CsvTable, number: int, wanted: Sequence[str] | None) -> Iterator[RawPiece | Reject]:
    """The rows of a table that was read row by row as one piece, and what is set aside."""
    import pyarrow as pa

    names = [name for name in table.columns if wanted is None or name in set(wanted)]
    cells: list[list[str]] = [[] for _ in names]
    places: list[str] = []
    for row in table.rows():
        if isinstance(row, BadRow):
            yield set_aside(table, row)
            continue
        places.append(f"{table.where}:{row.number}")
        for column, name in zip(cells, names, strict=True):
            column.append(row.values[name])
    if places:
        columns = {name: pa.array(column, pa.string()) for name, column in zip(names, cells, strict=True)}
        yield RawPiece(table.where, number, pa.table({**columns, WHERE: pa.array(places, pa.string())}))


def _line_count(text: bytes) -> int:
    ends = text.count(b"\n")
    if b"\r" in text:
        ends += text.count(b"\r") - text.count(b"\r\n")
    return ends + (1 if text and not text.endswith((b"\n", b"\r")) else 0)


def _before_blank_rows(block: bytes, end: int, delimiter: str, line_end: int) -> int:
    """`end` without the empty rows before it: whether a spreadsheet left them behind its last one, what comes tells."""
    nothing = b' \t\r\n"' + delimiter.encode()
    while end:
        start = block.rfind(bytes([line_end]), 0, end - 1) + 1
        if block[start:end].strip(nothing):
            return end
        end = start
    return 0


def _first_lines(text: bytes, count: int, line_end: int) -> bytes:
    at = 0
    for _ in range(count):
        at = text.find(bytes([line_end]), at) + 1
        if not at:
            return text
    return text[:at]
