"""Read a CSV of unknown dialect: delimiter, byte-order mark, quoting and line ends are found out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

from mlratchet.models.errors import DataError
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.sources.record import Reject

DELIMITERS = ",;\t|"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One data row."""

    number: int  # line of the file, the header is 1
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class RaggedRow:
    """A row with another number of fields than the header."""

    number: int
    got: int
    expected: int


class CsvTable:
    """A parsed CSV file."""

    def __init__(self, data: bytes, where: str) -> None:
        self.where = where
        text = decode_text(data, where)
        if not text.strip():
            raise DataError(f"{where}: empty file; expected a header row and data rows")
        self.delimiter = find_delimiter(text)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self.delimiter, skipinitialspace=True)
        try:
            rows = [(reader.line_num, row) for row in reader]
        except csv.Error as exc:
            raise DataError(f"{where}:{reader.line_num}: not readable as CSV: {exc}") from exc
        rows = [(line, row) for line, row in rows if any(field.strip() for field in row)]
        self.columns = [name.strip() for name in rows[0][1]]
        repeated = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if repeated:
            raise DataError(f"{where}:1: column {repeated[0]!r} is there twice; rename one")
        self._rows = rows[1:]

    def require(self, column: str) -> None:
        """Raises ``DataError`` with the nearest name when the column is missing."""
        if column not in self.columns:
            there = "add it or name another column in the pipeline file"
            hint = nearest_hint(column, self.columns, otherwise=there)
            raise DataError(f"{self.where}:1: column {column!r} is missing; got {', '.join(self.columns)}; {hint}")

    def rows(self) -> Iterator[Row | RaggedRow]:
        """Every data row; values are stripped."""
        width = len(self.columns)
        for number, fields in self._rows:
            if len(fields) != width:
                yield RaggedRow(number=number, got=len(fields), expected=width)
            else:
                yield Row(number=number, values={c: f.strip() for c, f in zip(self.columns, fields, strict=True)})


def decode_text(data: bytes, where: str) -> str:
    """UTF-8 (with or without mark) or UTF-16 with a mark. Raises ``DataError`` naming the row of the bad byte."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
        if b"\0" in data:
            raise DataError(f"{where}:{data[: data.index(0)].count(10) + 1}: NUL byte; deliver the file as UTF-8 text")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as exc:
        line = data[: exc.start].count(b"\n") + 1
        raise DataError(
            f"{where}:{line}: bad encoding: got byte 0x{data[exc.start]:02x}, expected UTF-8; convert the file"
        ) from exc


def find_delimiter(text: str) -> str:
    """The delimiter that splits the header, and the lines after it, into the same number (> 1) of fields."""
    sample = text.splitlines()[:20]

    def agreement(delimiter: str) -> tuple[int, int]:
        counts = [len(row) for row in csv.reader(sample, delimiter=delimiter, skipinitialspace=True) if row]
        if not counts or counts[0] < 2:
            return (0, 0)
        return (sum(count == counts[0] for count in counts), counts[0])

    return max(DELIMITERS, key=agreement)


def ragged(table: CsvTable, row: RaggedRow) -> Reject:
    """Why the row is set aside."""
    where = f"{table.where}:{row.number}"
    return Reject(where=where, code="ragged_row", reason=f"{where}: got {row.got} fields, expected {row.expected}")
