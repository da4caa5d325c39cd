"""The beginning of a delimited file on this machine, as raw columns: written as a person, or a pipeline file, says."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from mlratchet.models.drafting.header import looks_like_a_row
from mlratchet.models.errors import DataError
from mlratchet.models.schema.notation import WHERE
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.columns import RESERVED
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.delimited import FOUND_OUT, BadRow, CsvTable, Dialect, Row, UnreadableTableError
from mlratchet.models.sources.headless import below_its_header
from mlratchet.models.sources.names_once import twice_among
from mlratchet.models.sources.record import RawObject
from mlratchet.models.sources.text_encoding import Encoding, as_utf8
from mlratchet.models.sources.unpacking import UnreadableObjectError, unpacked

SAMPLE_BYTES = 16 << 20  # of a table's first file: what is proposed says of how many rows it was seen
HEADER_ROWS = 1_000  # that tell whether the first line is one of them
LONGEST_NAME = 150  # characters of a column's: a key of YAML has at most 1,024, and some are written as six
HEADLESS = "u.data"  # of MovieLens: ratings without a header
RATINGS = ("user_id", "item_id", "rating", "timestamp")  # which are its columns


@dataclass(frozen=True, kw_only=True)
class Written:
    """How delimited files are written, as far as somebody said; the rest is found out."""

    header: Sequence[str] | None = None
    """Names of the columns of files whose first line is a row; empty: that line has them, however it looks."""
    encoding: Encoding | None = None
    dialect: Dialect = FOUND_OUT

    @classmethod
    def of_source(cls, source: SourceOptions) -> Written:
        """As a pipeline file declares it."""
        if not isinstance(source, CsvOptions):
            return cls()
        return cls(header=source.header, encoding=source.encoding, dialect=source.dialect)

    def options(self) -> list[str]:
        """The options of the command line that say so."""
        said = {
            "--header": self.header, "--encoding": self.encoding, "--delimiter": self.dialect.delimiter,
            "--quotes": self.dialect.quotes,
        }  # fmt: skip
        return [option for option, value in said.items() if value is not None]


@dataclass(frozen=True, kw_only=True)
class DraftSample:
    """Rows from the beginning of files."""

    table: pa.Table
    whole: bool  # whether they are all rows
    unreadable: tuple[str, ...] = ()  # why rows are not among them, as a reader says it


def first_text(file: Path, encoding: Encoding | None = None) -> tuple[bytes, bool]:
    """What a file, packed or not, begins with, in UTF-8 up to the end of a line, and whether that is all of it. Raises
    ``DataError`` for bytes that cannot be unpacked, or are no text of the encoding."""
    item = RawObject(key=file.name, size_bytes=file.stat().st_size, sha256="0" * 64)
    with file.open("rb") as packed:
        data = as_utf8(unpacked(packed, item), item, encoding).read(SAMPLE_BYTES + 1)
    whole = len(data) <= SAMPLE_BYTES
    return data if whole else data[: data.rfind(b"\n", 0, SAMPLE_BYTES) + 1], whole


def delimited(file: Path, written: Written) -> DraftSample:
    """Raises ``DataError`` where no row can be used, and where nobody can tell whether its first line has names."""
    if file.name == HEADLESS and not written.header:
        written = Written(header=RATINGS, encoding=written.encoding, dialect=written.dialect)
    try:
        data, whole = first_text(file, written.encoding)
        table = _table_of(data if whole else _whole_rows(data), file.name, written)
    except (UnreadableTableError, UnreadableObjectError) as error:
        raise DataError(str(error)) from error
    require_names(table.columns, f"{file.name}:1")
    rows: list[Row] = []
    bad: list[BadRow] = []
    for row in table.rows():
        if isinstance(row, Row):
            rows.append(row)
        else:
            bad.append(row)
    reasons = tuple(f"{file.name}:{row.number}: {row.words}" for row in bad)
    _refuse_other_width(file, table, len(rows), bad)
    if not rows:
        raise DataError(f"{file}: no row can be used{f': {reasons[0]}' if reasons else ''}")
    columns = {name: pa.array([row.values[name] for row in rows], type=pa.string()) for name in table.columns}
    if written.header is None:
        _refuse_row_as_names(file, table.columns, [column[:HEADER_ROWS].to_pylist() for column in columns.values()])
    places = pa.array([f"{file.name}:{row.number}" for row in rows])
    return DraftSample(table=pa.table({**columns, WHERE: places}), whole=whole, unreadable=reasons)


def require_names(names: Sequence[str], where: str) -> None:
    """Raises ``DataError`` for columns that no run would read: of one name, or of a name that is Ratchet's own."""
    repeated = twice_among(names)
    if repeated is not None:
        raise DataError(f"{where}: column {repeated!r} is there twice; rename one")
    long = next((name for name in names if len(name) > LONGEST_NAME), None)
    if long is not None:
        raise DataError(f"{where}: column {long[:40]!r}...: its name has {len(long):,} characters; shorten it")
    ours = next((name for name in names if name.startswith(RESERVED)), None)
    if ours is not None:
        raise DataError(f"{where}: column {ours!r}: names with {RESERVED} are Ratchet's own; rename it")


def _refuse_other_width(file: Path, table: CsvTable, rows: int, bad: Sequence[BadRow]) -> None:
    """Raises ``DataError`` where most rows have another number of cells than the line of names."""
    widths = Counter(len(row.fields) for row in bad if row.code == "ragged_row")
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    if count <= rows or width < len(table.columns):
        return
    line = next(row.number for row in bad if len(row.fields) == width)
    words = f"its first line has {len(table.columns)} cells, and {count:,} rows have {width}, as line {line}"
    if width == len(table.columns) + 1:
        step = "name their first column, too (R's write.table leaves its name out, write.csv does not)"
    else:
        step = "delete what stands above the line of names"
    raise DataError(f"{file.name}:1: {words}; {step}")


def _table_of(text: bytes, where: str, written: Written) -> CsvTable:
    if not written.header:
        return CsvTable(text, where, written.dialect)
    source, dialect = below_its_header(io.BytesIO(text), written.header, where, written.dialect, option="--header")
    return CsvTable(source.read(), where, dialect, skipped=-1)


def _refuse_row_as_names(file: Path, names: Sequence[str], columns: Sequence[Sequence[str]]) -> None:
    words = looks_like_a_row(names, columns)
    if words:
        raise DataError(
            f"{file.name}:1: its first line looks like a row: {words}; say --header NAME,NAME,... ({len(names)} names) "
            "where the file has no names of its columns, or --header first where these are the names"
        )


def _whole_rows(data: bytes) -> bytes:
    """Up to the last line end that is no part of a quoted cell."""
    end = data.rfind(b"\n") + 1
    for _ in range(1000):
        if data.count(b'"', 0, end) % 2 == 0:
            return data[:end]
        end = data.rfind(b"\n", 0, max(end - 1, 0)) + 1
    return data[:end]
