"""Read a CSV of unknown dialect: delimiter, byte-order mark, quoting and line ends are found out.

Every line of a file is a row, part of one, set aside with its reason, or blank: `CsvTable` reconciles what it read with
what the file holds. A file in which that cannot be told is `UnreadableTableError`.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.open_quotes import RowLikeness
from mlratchet.models.sources.record import Reject
from mlratchet.models.sources.text_encoding import DECLARE_IT

DELIMITERS = ",;\t|"
SAMPLE_LINES = 20  # that tell the delimiter
LARGEST_CELL = 131_072  # characters
BLANKS_AFTER_QUOTE = re.compile(r'"[ \t]+(?=[,;\t|\r\n]|$)')
SEPARATOR_LINE = re.compile(r'"?sep=[,;\t|]+"?[,;\t|]*', re.IGNORECASE)  # of a spreadsheet, about the lines below it
PAGE = re.compile(r"<(!doctype\b|html[\s>]|\?xml\b)", re.IGNORECASE)
csv.field_size_limit(2**31 - 1)  # where its cell is too large, a quote would else seem to be left open


class UnreadableTableError(DataError):
    """A file that cannot be read as a whole, so that nothing of it is used."""

    def __init__(self, rule: str, where: str, words: str, *, records: int) -> None:
        super().__init__(f"{where}: {words}")
        self.rule = rule
        self.where = where  # file, or file:row
        self.records = max(1, records)  # that it seems to hold

    def reject(self) -> Reject:
        """The file as what was set aside."""
        return Reject(where=self.where, code=self.rule, reason=str(self), records=self.records)


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What a pipeline file declares of its tables; None: found out."""

    delimiter: str | None = None
    quotes: Literal["cells", "none"] | None = None
    """cells: a quote opens a cell, which may hold line breaks; none: a quote is a character like any other."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One data row."""

    number: int  # line of the file on which it begins, the header is 1
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row that cannot be used."""

    number: int
    code: str
    words: str  # got / expected
    fields: Sequence[str] = ()  # as far as they could be told apart


@dataclass(frozen=True, kw_only=True)
class _Fields:
    """One record of the file, the header included: what the lines `first` to `last` hold."""

    first: int
    last: int
    fields: list[str]
    problem: tuple[str, str] | None = None  # code and words


FOUND_OUT = Dialect()
NO_DELIMITER = (
    "no comma, semicolon, tab or | parts this line, and blanks part no cells: write one of them between cells"
)


class CsvTable:
    """A parsed CSV file. Raises ``UnreadableTableError`` for one of which nothing can be used."""

    def __init__(self, data: bytes, where: str, dialect: Dialect = FOUND_OUT, *, skipped: int = 0) -> None:
        """`skipped`: lines of the file between the header and the rows that `data` holds."""
        self.where, self._skipped, self.header_ends = where, skipped, 1
        text = decode_text(data, where)
        if not text.strip():
            raise UnreadableTableError(
                "empty_file", where, "empty file; expected a header row and data rows", records=1
            )
        self._lines = list(io.StringIO(text, newline=""))
        refuse_no_table(self._lines, where)
        self._dialect = dialect
        self.delimiter = dialect.delimiter or find_delimiter(self._lines, where)
        found = [one for one in self._records() if len(one.fields) > 1 or not _is_blank(one)]
        while found and _is_blank(found[-1]):
            found.pop()  # a spreadsheet's rows after its last one
        self.header_ends = found[0].last if found else 1
        self.header_width = len(found[0].fields) if found else 0  # columns without a name at its end counted
        self.columns = self._header(found)
        self._found = found[1:]
        if dialect.quotes is None:
            self._refuse_swallowed_rows(len(found[0].fields), found[0].last)
        for one in self._found:
            if len(one.fields) <= len(found[0].fields):
                del one.fields[len(self.columns) :]  # of columns without name and cells

    def require(self, column: str) -> None:
        """Raises ``DataError`` with the nearest name when the column is missing."""
        require(self.columns, self.where, column)

    def rows(self) -> Iterator[Row | BadRow]:
        """Every data row; values are stripped."""
        width = len(self.columns)
        for one in self._found:
            problem = one.problem or _unusable(one.fields, width)
            if problem is not None:
                yield BadRow(number=one.first + self._skipped, code=problem[0], words=problem[1], fields=one.fields)
            else:
                values = {c: f.strip() for c, f in zip(self.columns, one.fields, strict=True)}
                yield Row(number=one.first + self._skipped, values=values)

    def _records(self) -> Iterator[_Fields]:
        """The lines as records. Raises ``UnreadableTableError`` where a quote takes in more than its own line."""
        quoting: Literal[0, 3] = csv.QUOTE_NONE if self._dialect.quotes == "none" else csv.QUOTE_MINIMAL
        reader = csv.reader(
            iter(self._lines), delimiter=self.delimiter, skipinitialspace=True, strict=True, quoting=quoting
        )
        before = 0
        while True:
            try:
                fields, problem = next(reader), None
            except StopIteration:
                break
            except csv.Error as error:
                fields, problem = self._recovered(before + 1, reader.line_num, error)
            yield _Fields(first=before + 1, last=reader.line_num, fields=fields, problem=problem)
            before = reader.line_num
        if before != len(self._lines):
            raise self._unreadable("unreconciled", before + 1, f"{before} of {len(self._lines)} lines were read")

    def _recovered(self, first: int, last: int, error: csv.Error) -> tuple[list[str], tuple[str, str] | None]:
        """A line that is no record by the rules of CSV; blanks behind a closing quote are forgiven."""
        if last > first:
            raise self._unreadable(
                "open_quote",
                first,
                f"a quote opens here and takes in {last - first} more lines before it is clear that it does not close "
                f"({error}); close or double it, or set source.quotes: none where quotes are characters like any other",
            ) from error
        line = self._lines[first - 1]
        try:
            cleaned = [BLANKS_AFTER_QUOTE.sub('"', line)]
            return next(csv.reader(cleaned, delimiter=self.delimiter, skipinitialspace=True, strict=True)), None
        except csv.Error:
            fields = line.rstrip("\r\n").split(self.delimiter)
            return fields, ("bad_quote", f"{error}; double a quote inside a quoted cell, or set source.quotes: none")

    def _header(self, found: list[_Fields]) -> list[str]:
        if not found or found[0].problem is not None:
            line, words = (found[0].first, found[0].problem[1]) if found and found[0].problem else (1, "no header row")
            if found and self.delimiter not in self._lines[line - 1]:
                words = f"{words}; {NO_DELIMITER}"
            raise self._unreadable("bad_header", line, words)
        strange = next((told for told in map(_strange, found[0].fields) if told is not None), None)
        if strange is not None:
            raise self._unreadable("bad_header", found[0].first, strange[1])
        columns = [name.strip() for name in found[0].fields]
        named = self._width_with_names(columns, found[1:])
        repeated = sorted(name for name, times in Counter(columns[:named]).items() if times > 1)
        if repeated and not repeated[0]:
            raise self._unreadable("bad_header", found[0].first, self._nameless(columns[:named], found[1:]))
        if repeated:
            raise self._unreadable("bad_header", found[0].first, f"column {repeated[0]!r} is there twice; rename one")
        return columns[:named]

    def _nameless(self, columns: list[str], found: list[_Fields]) -> str:
        """Of several columns without a name: what to do, and which line could be that of the names."""
        places = [str(place) for place, name in enumerate(columns, start=1) if not name]
        shown = ", ".join(places[:5]) + (", ..." if len(places) > 5 else "")
        words = f"columns {shown} have no name; name them, or delete the lines that are no names and no rows"
        for one in found[: SAMPLE_LINES - 1]:
            cells = [cell.strip() for cell in one.fields]
            if len(set(cells)) == len(columns) == len(cells) and all(cells) and not any(map(_has_digit, cells)):
                return f"{words} (line {one.first} could be the names)"
        return words

    def _width_with_names(self, columns: list[str], found: list[_Fields]) -> int:
        """How many columns there are without those at the end that have neither a name nor a cell."""
        named = len(columns)
        while named > 1 and not columns[named - 1]:
            named -= 1
        rows = [one.fields for one in found if len(one.fields) <= len(columns)]
        return len(columns) if any(field.strip() for row in rows for field in row[named:]) else named

    def _refuse_swallowed_rows(self, width: int, header_ends: int) -> None:
        """Raises ``UnreadableTableError`` for a quoted cell over several lines that look like rows themselves: whether
        the cell holds them or an open quote took them in, nobody can tell."""
        spanning = [one for one in self._found if one.last > one.first and one.problem is None]
        if not spanning:
            return
        behind = self._lines[header_ends:]
        alike = RowLikeness(self._sure_cells(width), behind, self.delimiter)
        bad_quote = max((one.first for one in self._found if one.problem and one.problem[0] == "bad_quote"), default=0)
        for one in spanning:
            opening, *lines = self._lines[one.first - 1 : one.last]
            rows = alike.rows_among(lines, doubtful=bad_quote > one.last)
            # a line that is too short to be a row was not one before its quote opened either
            if opening.count(self.delimiter) + 1 >= width and rows:
                raise self._unreadable(
                    "open_quote",
                    one.first,
                    f"a quoted cell goes on to line {one.last + self._skipped}, and {rows} of the {len(lines)} lines "
                    "that it takes in look like rows: they are part of the cell, or rows behind a quote that was "
                    "left open; declare source.quotes: cells for the first, none for the second, or close the quote",
                )

    def _sure_cells(self, width: int) -> list[list[str]]:
        """By column: the cells of rows on one line, and those before the cell that goes on over several lines."""
        cells: list[list[str]] = [[] for _ in range(width)]
        for one in self._found:
            if len(one.fields) == width and one.problem is None:
                for place, field in enumerate(one.fields):
                    if "\n" in field or "\r" in field:
                        break
                    cells[place].append(field.strip().strip('"'))
        return cells

    def _unreadable(self, code: str, line: int, words: str) -> UnreadableTableError:
        held = sum(1 for one in self._lines if one.strip()) - 1
        line += self._skipped if line > self.header_ends else 0
        return UnreadableTableError(code, f"{self.where}:{line}", words, records=held)


def require(there: Sequence[str], where: str, column: str) -> None:
    """Raises ``DataError`` with the nearest name when a column is not `there`."""
    if column not in there:
        hint = nearest_hint(column, list(there), otherwise="add it or name another column in the pipeline file")
        raise DataError(f"{where}:1: column {column!r} is missing; got {', '.join(there)}; {hint}")


def decode_text(data: bytes, where: str) -> str:
    """UTF-8 (with or without mark) or UTF-16 with a mark, in Unicode's composed form (NFC).

    A byte that is no UTF-8 stays in its row as a lone surrogate, by which the row is set aside. Raises
    ``UnreadableTableError`` for UTF-16 that is none.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            text = data.decode("utf-16")
        except UnicodeDecodeError as exc:
            line, held = data[: exc.start].count(b"\n") + 1, data.count(b"\n")
            words = f"bad encoding: no UTF-16, as its mark says ({exc.reason}); convert the file"
            raise UnreadableTableError("bad_encoding", f"{where}:{line}", words, records=held) from exc
    else:
        text = data.decode("utf-8-sig", errors="surrogateescape")
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def refuse_no_table(lines: Sequence[str], where: str) -> None:
    """Raises ``UnreadableTableError`` where the first line that is not blank is neither names nor a row."""
    at, first = next(((at, line.strip()) for at, line in enumerate(lines, start=1) if line.strip()), (1, ""))
    words = ""
    if SEPARATOR_LINE.fullmatch(first):
        words = f"got {first!r}, which a spreadsheet writes; delete that line, and set source.delimiter to what it says"
    elif PAGE.match(first):
        words = f"got a page of HTML or XML ({first[:60]!r}), expected a table; deliver the table that it stands for"
    if words:
        raise UnreadableTableError("bad_header", f"{where}:{at}", words, records=len(lines) - at)


def find_delimiter(lines: Sequence[str], where: str) -> str:
    """The delimiter that splits the header, and the lines after it, into the same number (> 1) of fields.

    Raises ``DataError`` for two that do it equally well, and as `refuse_no_table`.
    """
    refuse_no_table(lines, where)
    sample = lines[:SAMPLE_LINES]

    def agreement(delimiter: str) -> tuple[int, int]:
        counts = [len(row) for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True) if row]
        if not counts or counts[0] < 2:
            return (0, 0)
        return (sum(count == counts[0] for count in counts), counts[0])

    found = {delimiter: agreement(delimiter) for delimiter in DELIMITERS}
    best = max(found.values())
    equal = [delimiter for delimiter, value in found.items() if value == best]
    if len(equal) > 1 and best > (0, 0):
        raise DataError(
            f"{where}:1: {equal[0]!r} and {equal[1]!r} both split it into {best[1]} columns; declare source.delimiter"
        )
    return equal[0]


def _has_digit(text: str) -> bool:
    return any(one.isdigit() for one in text)


def _is_blank(one: _Fields) -> bool:
    return one.problem is None and not any(field.strip() for field in one.fields)


def _unusable(fields: Sequence[str], width: int) -> tuple[str, str] | None:
    """Code and words; None for a row that can be used."""
    if len(fields) != width:
        return ("ragged_row", f"got {len(fields)} fields, expected {width}")
    for field in fields:
        if len(field) > LARGEST_CELL:
            words = f"got a cell of {len(field):,} characters, expected at most {LARGEST_CELL:,}; shorten the cell"
            return ("cell_too_large", words)
        if not field.isascii() or "\0" in field:
            strange = _strange(field)
            if strange is not None:
                return strange
    if not any(field.strip() for field in fields):
        return ("empty_row", "every cell is empty")
    return None


def _strange(text: str) -> tuple[str, str] | None:
    if "\0" in text:
        return ("nul_byte", "NUL byte; deliver the file as UTF-8 text")
    bad = next((ord(c) - 0xDC00 for c in text if 0xDC80 <= ord(c) <= 0xDCFF), None)
    if bad is None:
        return None
    return ("bad_encoding", f"bad encoding: got byte 0x{bad:02x}, expected UTF-8; {DECLARE_IT}")


def set_aside(table: CsvTable, row: BadRow) -> Reject:
    """Why the row is set aside."""
    where = f"{table.where}:{row.number}"
    return Reject(where=where, code=row.code, reason=f"{where}: {row.words}")
