"""The same rows in every dress of a table."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.sources.planted.reading import Cells

TABLE = (
    '{label: y, id: k, group: g, time: day, missing: ["NA"], fields: {a: {kind: number, minimum: 0, maximum: 100}, '
    "n: {kind: number, whole: true, nullable: true}, word: {kind: category, values: [red, blü]}, "
    "day: {kind: time, format: iso}, "
    'dna: {kind: letters, alphabet: dna}, note: {kind: text}, y: {kind: category, values: ["no", "yes"]}}}'
)


def row(number: int) -> Cells:
    return {
        "k": f"k{number}", "g": f"g{number // 2}", "a": number + 0.5, "n": number, "word": ("red", "blü")[number % 2],
        "day": f"2026-01-{number + 1:02d}", "dna": "ACGT"[number % 4] * 3, "note": f'a "{number}",\nb',
        "y": ("no", "yes")[number % 2],
    }  # fmt: skip


def csv_text(rows: list[Cells]) -> str:
    def cell(value: Any) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if any(one in text for one in ',"\n') else text

    lines = [",".join(cell(name) for name in rows[0]), *(",".join(map(cell, one.values())) for one in rows)]
    return "\n".join(lines) + "\n"


def as_parquet(rows: list[Cells]) -> bytes:
    columns = {}
    for name in rows[0]:
        cells = [one[name] for one in rows]
        mixed = len({type(cell) for cell in cells if cell is not None} & {str}) and not all(
            isinstance(cell, str | None) for cell in cells
        )
        columns[name] = pa.array([None if c is None else str(c) for c in cells] if mixed else cells)
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


TABLES: dict[str, tuple[str, str, Callable[[list[Cells]], bytes]]] = {  # name -> file, source, how it is written
    "csv": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode()),
    "csv with a mark": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode("utf-8-sig")),
    "csv utf-16": ("t.csv", "format: csv", lambda rows: csv_text(rows).encode("utf-16")),
    "csv latin-1": ("t.csv", "format: csv, encoding: latin-1", lambda rows: csv_text(rows).encode("latin-1")),
    "tsv": ("t.tsv", "format: csv", lambda rows: csv_text(rows).replace(",", "\t").encode()),
    "csv.gz": ("t.csv.gz", "format: csv", lambda rows: gzip.compress(csv_text(rows).encode())),
    "csv.zst": ("t.csv.zst", "format: csv", lambda rows: zst(csv_text(rows).encode())),
    "parquet": ("t.parquet", "format: parquet", as_parquet),
    "jsonl": ("t.jsonl", "format: jsonl", lambda rows: "".join(json.dumps(one) + "\n" for one in rows).encode()),
    "jsonl.gz": (
        "t.jsonl.gz", "format: jsonl",
        lambda rows: gzip.compress("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows).encode()),
    ),
}  # fmt: skip
