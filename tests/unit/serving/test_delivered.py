"""Files that `ratchet predict` reads as deliveries are: packed tables, Parquet, and sequences."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.infra.serving.client_files import TableWriting, Takes, instances_of
from mlratchet.models.errors import DataError

TWO = Takes(columns=("a", "b"))
LETTERS = Takes(columns=("sequence", "organ"), words=frozenset(["sequence", "organ"]))


def packed(data: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(data)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return bytes(sink.getvalue().to_pybytes())


def written(file: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), file)
    return file


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize(
    ("name", "text"), [("rows.csv", "a,b\n1,2\n3,\n"), ("rows.jsonl", '{"a": 1, "b": 2}\n{"a": 3}\n')]
)
def test_a_packed_table_is_the_table(tmp_path: Path, name: str, text: str, suffix: str) -> None:
    (tmp_path / f"{name}{suffix}").write_bytes(packed(text.encode(), suffix))
    assert [one for _, one in instances_of(tmp_path / f"{name}{suffix}", TWO)] == [{"a": 1, "b": 2}, {"a": 3}]


def test_rows_of_parquet_have_the_cells_of_the_file(tmp_path: Path) -> None:
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    columns = {
        "label": pa.array(["x", "y", None]),
        "size": pa.array([1.5, None, 3.0]),
        "count": pa.array([1, 2, None], pa.int64()),
        "on": pa.array([True, False, None]),
        "price": pa.array([Decimal("1.25"), None, Decimal("2.00")]),
        "town": pa.array(["Lund", "NA", ""]),
        "code": pa.array([7, 8, None], pa.int32()),
        "day": pa.array([moment, None, moment], pa.timestamp("us", "UTC")),
        "signal": pa.array([[1.0, 2.0], [3.0, 4.0], None]),
        "told": pa.array(["[[1, 2]]", None, None]),
    }
    takes = Takes(
        columns=("size", "count", "on", "price", "town", "code", "day", "signal", "told"),
        words=frozenset(["town", "code", "day"]),
        written=TableWriting(missing={"town": ["NA"]}),
    )
    file = written(tmp_path / "rows.parquet", columns)
    found = instances_of(file, takes)
    assert found == [
        (
            f"{file}:1",
            {
                "size": 1.5, "count": 1, "on": 1, "price": 1.25, "town": "Lund", "code": "7",
                "day": "2026-03-01T12:30:00+00:00", "signal": [1.0, 2.0], "told": [[1, 2]],
            },
        ),
        (f"{file}:2", {"count": 2, "on": 0, "code": "8", "signal": [3.0, 4.0]}),
        (f"{file}:3", {"size": 3.0, "price": 2, "day": "2026-03-01T12:30:00+00:00"}),
    ]  # fmt: skip
    json.dumps([one for _, one in found], allow_nan=False)


def test_blanks_and_nulls_are_what_a_row_lacks_and_their_columns_are_there(tmp_path: Path) -> None:
    blank = written(tmp_path / "blank.parquet", {"a": ["  ", " 2 "], "b": [None, 1.0]})
    assert [row for _, row in instances_of(blank, TWO)] == [{}, {"a": 2, "b": 1.0}]
    nulls = written(tmp_path / "nulls.parquet", {"a": pa.array([None], pa.float64())})
    assert [row for _, row in instances_of(nulls, TWO)] == [{}]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("reads.fasta", ">s1 organ=leaf\nACGT\nACG\n>s2\nTT\n"),
        ("reads.fq", "@s1 organ=leaf\nACGTACG\n+\nIIIIIII\n@s2\nTT\n+\nII\n"),
    ],
)
def test_sequences_are_read_as_deliveries_are(tmp_path: Path, name: str, text: str, suffix: str) -> None:
    file = tmp_path / f"{name}{suffix}"
    file.write_bytes(packed(text.encode(), suffix) if suffix else text.encode())
    assert [one for _, one in instances_of(file, LETTERS)] == [
        {"sequence": "ACGTACG", "organ": "leaf"},
        {"sequence": "TT"},
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"c": [1.0]}, r"has none of the columns a, b; got c"),
        ({"a": pa.array([], pa.float64())}, r"holds no row; expected a, b"),
        ({"a": [1.0, float("nan")]}, r"rows\.parquet:2: column 'a': got nan, expected a finite number"),
        ({"a": [[1.0], [float("inf")]]}, r"rows\.parquet:2: column 'a': cannot be sent"),
        ({"a": ["1,5"]}, r"rows\.parquet:1: column 'a': got '1,5', expected a number with a decimal point"),
        ({"a": ["[1, NaN]"]}, r"rows\.parquet:1: column 'a': got NaN, expected a finite number"),
        ({"a": [{"at": datetime(2026, 3, 1, tzinfo=UTC)}]}, r"rows\.parquet:1: column 'a': cannot be sent"),
    ],
)
def test_what_no_request_can_hold_is_named(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        instances_of(written(tmp_path / "rows.parquet", columns), TWO)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("rows.parquet", b"PAR1", r"rows\.parquet: cannot be read as Parquet"),
        ("rows.csv.gz", gzip.compress(b"a,b\n1,2\n")[:-9], r"rows\.csv\.gz: cannot be unpacked as gzip"),
        ("reads.fastq", b"@s1\nACGT\n+\nII\n", r"reads\.fastq:1: 4 letters and 2 qualities"),
    ],
)
def test_a_damaged_file_is_told_and_nothing_of_it_is_sent(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words):
        instances_of(tmp_path / name, TWO)


def test_a_table_is_refused_where_the_model_takes_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a table, and this model takes none"):
        instances_of(written(tmp_path / "rows.parquet", {"a": [1.0]}), Takes(file="image_base64"))
