"""The records of a person in a file of a delivery, and the file without them: what stays keeps its bytes."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources.csv import SUFFIXES
from mlratchet.models.sources.record import RawObject
from mlratchet.models.sources.unpacking import bare_name, read_bounded, unpacked

DIALECT_BYTES = 64 << 10
LINES = (".jsonl", ".ndjson", ".json")
UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # mark -> how the text behind it is written


@dataclass(frozen=True, kw_only=True)
class TableReading:
    """What a pipeline file says of its tables; None: told by the file."""

    delimiter: str | None = None
    encoding: str | None = None
    header: tuple[str, ...] | None = None  # of files whose first line is a row


AS_THEY_SAY = TableReading()


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Whose records."""

    fields: tuple[str, ...]  # columns that name a person
    keys: Collection[str]

    def is_theirs(self, row: Mapping[str, Any]) -> bool:
        """Whether one of the columns holds one of the keys."""
        return any(row.get(name) is not None and _word(row[name]) in self.keys for name in self.fields)


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
    if bare.suffix in SUFFIXES:
        return _of_table(data, wanted, reading, "\t" if bare.suffix in (".tsv", ".tab") else None)
    if bare.suffix in LINES:
        return _of_lines(data, wanted)
    if bare.suffix == ".parquet":
        return _of_parquet(data, wanted)
    if any(key.encode() in data for key in wanted.keys if len(key) > 3):
        raise CannotPartError(f"{bare}: holds the key, and is of a format that is not taken apart: do it by hand")
    return None


def _unpacked(name: str, data: bytes) -> bytes:
    item = RawObject(key=name, size_bytes=len(data), sha256="0" * 64)
    return read_bounded(unpacked(cast(BinaryIO, io.BytesIO(data)), item), item)


def _packed(name: str, data: bytes) -> bytes:
    if name.lower().endswith(".zst"):
        return bytes(pa.compress(data, codec="zstd", asbytes=True))
    return gzip.compress(data, mtime=0)


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_table(data: bytes, wanted: Wanted, reading: TableReading, usual: str | None) -> Parted | None:
    mark, encoding = _encoding_of(data, reading.encoding)
    text = data[len(mark) :].decode(encoding, "surrogateescape")
    records = _records(text, reading.delimiter or usual or _delimiter_of(text))
    header, head = (list(reading.header), "") if reading.header else next(records, ([], ""))
    header = [name.strip() for name in header]
    kept, theirs, others = [head], list[Mapping[str, str]](), set[str]()
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
    if declared is not None and declared != "utf-8":
        return b"", declared
    if data[:2] in UTF16 and declared is None:
        return data[:2], UTF16[data[:2]]
    return (codecs.BOM_UTF8 if data.startswith(codecs.BOM_UTF8) else b""), "utf-8"


def _delimiter_of(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:DIALECT_BYTES].splitlines()[0], ",;\t|").delimiter
    except (csv.Error, IndexError):
        return ","


def _records(text: str, delimiter: str) -> Iterator[tuple[list[str], str]]:
    """Cells of each record, and its text as it is written."""
    lines = io.StringIO(text, newline="")
    taken: list[str] = []

    def told() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line

    for cells in csv.reader(told(), delimiter=delimiter):
        raw = "".join(taken)
        taken.clear()
        yield cells, raw


def _of_lines(data: bytes, wanted: Wanted) -> Parted | None:
    kept, theirs, others = [], list[Mapping[str, str]](), set[str]()
    for line in data.splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        cells = {name: _word(cell) for name, cell in row.items()} if isinstance(row, dict) else {}
        if isinstance(row, dict) and wanted.is_theirs(row):
            theirs.append(cells)
        else:
            kept.append(line)
            others.update(cells.values())
    return Parted(theirs=tuple(theirs), others=frozenset(others), rest=b"".join(kept)) if theirs else None


def _of_parquet(data: bytes, wanted: Wanted) -> Parted | None:
    table = pq.read_table(io.BytesIO(data))
    names = [name for name in wanted.fields if name in table.column_names]
    masks = [
        pc.is_in(pc.cast(table[name], pa.string()), pa.array(sorted(wanted.keys), pa.string()))
        for name in names
        if not pa.types.is_nested(table[name].type)
    ]
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
        for column in kept.columns
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        for value in column.unique().to_pylist()
    }
    sink = io.BytesIO()
    pq.write_table(kept, sink)
    rows = tuple({name: _word(cell) for name, cell in row.items()} for row in found.to_pylist())
    return Parted(theirs=rows, others=frozenset(others), rest=sink.getvalue())
