"""The records of a person in a file of a delivery, and the file without them: what stays keeps its bytes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

TABLES = (".csv", ".tsv", ".txt")
DIALECT_BYTES = 64 << 10


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


def part(name: str, data: bytes, wanted: Wanted, *, delimiter: str | None = None) -> Parted | None:
    """None where the file holds no record of theirs.

    Args:
        name: Of the object. A file that is a record by itself, a picture or a sound, is theirs by a part of its name.
        data: Its bytes.
        wanted: Whose records.
        delimiter: Of a table; None: told by its first lines.

    Raises ``CannotPartError`` for a file that may hold a record of theirs and is of another format.
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    if {*path.parts, path.stem} & set(wanted.keys):
        return Parted(theirs=({"": name},), others=frozenset(), rest=None)
    if suffix in TABLES:
        return _of_table(data, wanted, delimiter or ("\t" if suffix == ".tsv" else None))
    if suffix in (".jsonl", ".ndjson", ".json"):
        return _of_lines(data, wanted)
    if suffix == ".parquet":
        return _of_parquet(data, wanted)
    if any(key.encode() in data for key in wanted.keys if len(key) > 3):
        raise CannotPartError(f"{name}: holds the key, and is of a format that is not taken apart: do it by hand")
    return None


def _word(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _of_table(data: bytes, wanted: Wanted, delimiter: str | None) -> Parted | None:
    encoding = "utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8"
    text = data.decode(encoding, "surrogateescape")
    if delimiter is None:
        try:
            delimiter = csv.Sniffer().sniff(text[:DIALECT_BYTES].splitlines()[0], ",;\t|").delimiter
        except (csv.Error, IndexError):
            delimiter = ","
    records = _records(text, delimiter)
    header, head = next(records, ([], ""))
    kept, theirs, others = [head], list[Mapping[str, str]](), set[str]()
    for cells, raw in records:
        row = dict(zip(header, cells, strict=False))
        if wanted.is_theirs(row):
            theirs.append(row)
        else:
            kept.append(raw)
            others.update(cells)
    if not theirs:
        return None
    rest = "".join(kept).encode(encoding, "surrogateescape")
    return Parted(theirs=tuple(theirs), others=frozenset(others), rest=rest)


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
