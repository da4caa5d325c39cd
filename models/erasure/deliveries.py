"""The records of a person in a file of a delivery, and the file without them: what stays keeps its bytes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.erasure.whose import Wanted, plain_column, word_of
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources import csv as csv_format
from mlratchet.models.sources import decoding, parquet, ratings, sounds
from mlratchet.models.sources.base import Format
from mlratchet.models.sources.names_once import names_once
from mlratchet.models.sources.parquet_times import EVERY_YEAR
from mlratchet.models.sources.ranged import opening_whole
from mlratchet.models.sources.record import RawObject, Reject
from mlratchet.models.sources.unpacking import bare_name, read_bounded, unpacked

DIALECT_BYTES = 64 << 10
MEDIA = (*(f".{one}" for one in decoding.SUFFIXES), *sounds.SUFFIXES)
SHORT = 3  # characters of a key that stands anywhere
LINES = (".jsonl", ".ndjson", ".json")
UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # mark -> how the text behind it is written


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """What a pipeline file says of its tables; None: told by the file."""

    format: str = "csv"
    delimiter: str | None = None
    encoding: str | None = None
    header: tuple[str, ...] | None = None  # of files whose first line is a row
    quotes: str | None = None


AS_THEY_SAY = TableReading()


@dataclass(frozen=True, kw_only=True)
class Parted:
    """A file in two."""

    theirs: tuple[Mapping[str, str], ...]  # records that go, cell by cell as text
    others: frozenset[str]  # texts of the records that stay, to tell what stands in theirs alone
    rest: bytes | None  # the file without them; None: nothing of it stays


class CannotPartError(ValueError):
    """A file of a format that is not taken apart here."""


def part(name: str, data: bytes, wanted: Wanted, reading: TableReading = AS_THEY_SAY) -> Parted | None:
    """None where the file holds no record of theirs.

    Args:
        name: Of the object. A file that is a record by itself, a picture or a sound, is theirs by a part of its name.
        data: Its bytes; packed where the name says so.
        wanted: Whose records.
        reading: Of a table.

    Raises ``CannotPartError`` for a file that may hold a record of theirs and cannot be taken apart.
    """
    path, bare = PurePosixPath(name), PurePosixPath(bare_name(name))
    if {*path.parts, path.stem, path.name.partition(".")[0]} & set(wanted.keys):
        return Parted(theirs=({"": name},), others=frozenset(), rest=None)
    try:
        found = _parted(bare, _unpacked(name, data), wanted, reading)
    except (DataError, SecurityError, UnicodeError, csv.Error, pa.ArrowException) as error:
        raise CannotPartError(f"{name}: cannot be looked into ({error}): do it by hand") from error
    if found is None or found.rest is None or bare.name == path.name.lower():
        return found
    return replace(found, rest=_packed(name, found.rest))


def _parted(bare: PurePosixPath, data: bytes, wanted: Wanted, reading: TableReading) -> Parted | None:
    if bare.suffix in ratings.SUFFIXES and reading.format == "ratings":
        return _held_against(_of_ratings(data, wanted, reading), bare, data, wanted, reading)
    if bare.suffix in csv_format.SUFFIXES:
        usual = "\t" if bare.suffix in (".tsv", ".tab") else None
        return _held_against(_of_table(data, wanted, reading, usual), bare, data, wanted, reading)
    if bare.suffix in LINES:
        return _of_lines(data, wanted, str(bare))
    if bare.suffix in parquet.SUFFIXES:
        return _of_parquet(data, wanted)
    if bare.suffix in MEDIA:  # a record by itself, which its name tells
        return None
    if any(len(key) <= SHORT or key.encode() in data for key in wanted.keys):
        raise CannotPartError(f"{bare}: may hold the key, and is of a format that is not taken apart: do it by hand")
    return None


def _held_against(
    found: Parted | None, bare: PurePosixPath, data: bytes, wanted: Wanted, reading: TableReading
) -> Parted | None:
    """What was found, where a run finds no more records of theirs in the file, and none in what is left."""
    ours = len(found.theirs) if found is not None else 0
    left = data if found is None else found.rest or b""
    if _as_a_run_reads(bare, data, wanted, reading).theirs > ours:
        raise CannotPartError(f"{bare}: a run reads records of theirs that are not told apart here: do it by hand")
    after = _as_a_run_reads(bare, left, wanted, reading)
    still = after.aside and any(len(key) > SHORT and key.encode() in left for key in wanted.keys)
    if (found is not None and after.theirs) or still:
        raise CannotPartError(f"{bare}: holds the key where a run reads no row: do it by hand")
    return found


class _Read(NamedTuple):
    """By the format's own reader."""

    theirs: int  # records
    aside: bool  # whether anything was set aside


def _as_a_run_reads(bare: PurePosixPath, data: bytes, wanted: Wanted, reading: TableReading) -> _Read:
    if reading.format == "ratings":
        reader: Format = ratings.Ratings(ratings.RatingsOptions(prefix="/"))
    else:
        options: Any = {name: getattr(reading, name) for name in ("delimiter", "encoding", "header", "quotes")}
        reader = csv_format.Csv(csv_format.CsvOptions(prefix="/", **options))
    item = RawObject(key=bare.name, size_bytes=len(data), sha256="0" * 64)
    theirs, aside = 0, False
    for one in reader.tables([item], opening_whole(lambda _item: data)):
        if isinstance(one, Reject):
            aside = True
            continue
        names = [name for name in wanted.fields if name in one.table.column_names]
        theirs += sum(map(wanted.is_theirs, one.table.select(names).to_pylist()))
    return _Read(theirs, aside)


def _unpacked(name: str, data: bytes) -> bytes:
    item = RawObject(key=name, size_bytes=len(data), sha256="0" * 64)
    return read_bounded(unpacked(cast(BinaryIO, io.BytesIO(data)), item), item)


def _packed(name: str, data: bytes) -> bytes:
    if name.lower().endswith(".zst"):
        return bytes(pa.compress(data, codec="zstd", asbytes=True))
    return gzip.compress(data, mtime=0)


def _of_ratings(data: bytes, wanted: Wanted, reading: TableReading) -> Parted | None:
    """A rating a line, as the format has them: parted by tabs, commas, semicolons, bars or `::`."""
    mark, encoding = _encoding_of(data, reading.encoding)
    lines = data[len(mark) :].decode(encoding, "surrogateescape").splitlines(keepends=True)
    first = lines[0] if lines else ""
    parting = "::" if "::" in first else next((one for one in "\t,;|" if one in first), "\t")
    told = [[cell.strip().strip('"') for cell in line.rstrip("\r\n").split(parting)] for line in lines]
    headless = len(told[0]) >= 3 and re.fullmatch(ratings.NUMBER, told[0][2]) is not None if told else True
    header = list(ratings.COLUMNS) if headless else [ratings.column_of(name) or name for name in told[0]]
    kept, theirs, others = [] if headless else lines[:1], list[Mapping[str, str]](), set[str]()
    for cells, raw in zip(told[len(kept) :], lines[len(kept) :], strict=True):
        row = dict(zip(header, cells, strict=False))
        if wanted.is_theirs(row):
            theirs.append(row)
        else:
            kept.append(raw)
            others.update(cells)
    rest = mark + "".join(kept).encode(encoding, "surrogateescape")
    return Parted(theirs=tuple(theirs), others=frozenset(others), rest=rest) if theirs else None


def _of_table(data: bytes, wanted: Wanted, reading: TableReading, usual: str | None) -> Parted | None:
    mark, encoding = _encoding_of(data, reading.encoding)
    text = data[len(mark) :].decode(encoding, "surrogateescape")
    delimiter = reading.delimiter or usual or _delimiter_of(text)
    records = _records(text, delimiter, csv.QUOTE_NONE if reading.quotes == "none" else csv.QUOTE_MINIMAL)
    kept, theirs, others = [], list[Mapping[str, str]](), set[str]()
    header = list(reading.header or ())
    for cells, raw in records if not header else ():
        kept.append(raw)
        if any(cell.strip() for cell in cells):  # blank lines may stand above
            header = [unicodedata.normalize("NFC", cell.strip()) for cell in cells]
            break
    for cells, raw in records:
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        if wanted.is_theirs(row):
            theirs.append(row)
        else:
            kept.append(raw)
            others.update(row.values())
    if not theirs:
        return None
    rest = mark + "".join(kept).encode(encoding, "surrogateescape")
    return Parted(theirs=tuple(theirs), others=frozenset(others), rest=rest)


def _encoding_of(data: bytes, declared: str | None) -> tuple[bytes, str]:
    """Mark and encoding."""
    marked = UTF16.get(data[:2])
    if marked is not None and declared in (None, "utf-16", marked):
        return data[:2], marked
    if declared is not None and declared != "utf-8":
        return b"", declared
    return (codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""), "utf-8"


def _delimiter_of(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:DIALECT_BYTES].splitlines()[0], ",;\t|").delimiter
    except (csv.Error, IndexError):
        return ","


def _records(text: str, delimiter: str, quoting: Literal[0, 3]) -> Iterator[tuple[list[str], str]]:
    """Cells of each record, and its text as it is written."""
    lines = io.StringIO(text, newline="")
    taken: list[str] = []

    def told() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    for cells in csv.reader(told(), delimiter=delimiter, skipinitialspace=True, quoting=quoting):
        raw = "".join(taken)
        taken.clear()
        yield cells, raw


def _of_lines(data: bytes, wanted: Wanted, name: str) -> Parted | None:
    kept, theirs, others = [], list[Mapping[str, str]](), set[str]()
    for line in data.splitlines(keepends=True):
        try:
            row = json.loads(line, object_pairs_hook=names_once)  # as runs read it
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) and any(_may_hold(line, key) for key in wanted.keys):
            raise CannotPartError(f"{name}: a line that is no record holds the key: do it by hand")
        cells = {name: word_of(cell) for name, cell in row.items()} if isinstance(row, dict) else {}
        if isinstance(row, dict) and wanted.is_theirs(row):
            theirs.append(cells)
        else:
            kept.append(line)
            others.update(cells.values())
    return Parted(theirs=tuple(theirs), others=frozenset(others), rest=b"".join(kept)) if theirs else None


def _may_hold(line: bytes, key: str) -> bool:
    return len(key) > SHORT and (key.encode() in line or json.dumps(key)[1:-1].encode() in line)


def _of_parquet(data: bytes, wanted: Wanted) -> Parted | None:
    table = pq.read_table(io.BytesIO(data), **EVERY_YEAR)
    names = [name for name in wanted.fields if name in table.column_names]
    told = [wanted.in_column(name, table[name]) for name in names]
    masks = [mask for mask in told if mask is not None]
    if not masks:
        return None
    hit = masks[0]
    for mask in masks[1:]:
        hit = pc.or_(hit, mask)
    found, kept = table.filter(hit), table.filter(pc.invert(hit))
    if not found.num_rows:
        return None
    others = {
        str(value)
        for column in map(plain_column, kept.columns)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        for value in column.unique().to_pylist()
    }
    sink = io.BytesIO()
    pq.write_table(kept, sink)
    rows = tuple({name: word_of(cell) for name, cell in row.items()} for row in found.to_pylist())
    return Parted(theirs=rows, others=frozenset(others), rest=sink.getvalue())
