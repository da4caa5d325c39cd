"""CSV, Parquet and JSONL: what they hold is read or set aside, whatever is done to their bytes."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.sources import parquet as parquet_format
from mlratchet.models.sources.record import PIECE_BYTES
from pyarrow import parquet as pq

from tests.conftest import REPOSITORY
from tests.unit.sources.sources import Delivery, codes, damaged
from tests.unit.sources.test_formats import TABLE, read

TEXT = 'a;b;label\n1,5;ä;yes\n2;"x;\ny";no\n'
ROWS = [{"a": "1,5", "b": "ä", "label": "yes"}, {"a": "2", "b": "x;\ny", "label": "no"}]


def zst(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("key", "data", "options"),
    [
        ("t.csv", TEXT.encode(), {}),
        ("t.csv", b"\xef\xbb\xbf" + TEXT.encode(), {}),
        ("t.CSV", TEXT.encode("utf-16"), {}),
        ("t.tsv", TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ("t.txt", TEXT.encode("latin-1"), {"encoding": "latin-1"}),
        ("t.csv", TEXT.encode("cp1252"), {"encoding": "cp1252"}),
        ("t.csv.gz", gzip.compress(TEXT.encode(), mtime=0), {}),
        ("t.csv.zst", zst(TEXT.encode()), {}),
        ("t.csv.gz", gzip.compress(TEXT.encode("utf-16"), mtime=0), {}),
    ],
)
def test_a_table_is_read_in_its_encoding_and_packing(key: str, data: bytes, options: dict[str, Any]) -> None:
    delivery = Delivery({key: data})
    examples, rejects = delivery.examples("csv", ("a",), **options)
    assert rejects == []
    assert [dict(one.values) for one in examples] == ROWS
    rows, rejects = delivery.rows("csv", **options)
    assert rejects == []
    assert rows == [row | {"@where": f"{key}:{line}"} for row, line in zip(ROWS, (2, 3), strict=True)]


def test_bytes_that_are_not_of_the_encoding_set_their_row_or_their_file_aside() -> None:
    delivery = Delivery({"a.csv": b"a,b\n1,\x81\n2,x\n", "b.csv": b"\xff\xfea\x00,\x00b\x00\n\x00\x00\xd8\x00\xd8"})
    assert codes(delivery.rows("csv")[1]) == [("a.csv:2", "bad_encoding"), ("b.csv:2", "bad_encoding")]
    one = Delivery({"a.csv": b"a,b\n1,\x81\n2,x\n"})
    for found in (one.rows("csv", encoding="cp1252")[1], one.examples("csv", encoding="cp1252")[1]):
        assert codes(found) == [("a.csv:2", "bad_encoding")]


def test_utf_16_that_lacks_its_mark_is_set_aside_as_bytes_that_are_none() -> None:
    for name in ("utf-16-le", "utf-16-be"):
        one = Delivery({"a.csv": "a,b\n1,x\n".encode(name)})
        for found in (one.rows("csv", encoding="utf-16")[1], one.examples("csv", encoding="utf-16")[1]):
            assert codes(found) == [("a.csv:1", "bad_encoding")]
            assert "its byte-order mark is missing" in found[0].reason
            assert "utf-16-le" in found[0].reason
    assert codes(Delivery({"a.jsonl": '{"a": 1}\n'.encode("utf-16-le")}).rows("jsonl", encoding="utf-16")[1]) == [
        ("a.jsonl:1", "bad_encoding")
    ]


@pytest.mark.slow
def test_a_file_that_unpacks_without_end_is_refused_and_a_damaged_one_is_set_aside() -> None:
    bomb = gzip.compress(b"a,b\n" + b"1,2\n" * (17 << 20), mtime=0)
    for ask in (Delivery({"t.csv.gz": bomb}).rows, Delivery({"t.csv.gz": bomb}).examples):
        with pytest.raises(SecurityError, match=r"t\.csv\.gz: a decompression bomb"):
            ask("csv")
    whole = gzip.compress(("a,b\n" + "".join(f"{n},{n * 7}\n" for n in range(5000))).encode())
    for ask in (Delivery({"t.csv.gz": whole[:-2000]}).rows, Delivery({"t.csv.gz": whole[:-2000]}).examples):
        assert ask("csv")[1][0].code == "bad_compression"


def test_only_asked_columns_and_names_are_read_and_a_row_without_its_id_is_set_aside() -> None:
    delivery = Delivery({"t.csv": b"id,a,b\nx,1,2\n,3,4\n", "u.parquet": b""})
    rows, rejects = delivery.rows("csv", ["a"], id_column="id")
    assert [set(row) for row in rows] == [{"id", "a", "@where"}]
    assert codes(rejects) == [("u.parquet", "not_a_table"), ("t.csv:3", "missing_id")]
    with pytest.raises(DataError, match=r"t\.csv:1: column 'ab' is missing"):
        delivery.rows("csv", ["ab"])


def test_a_large_object_is_read_in_ranges_and_only_what_is_needed() -> None:
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=1_000_000) for name in ("a", "b", "c", "d")}
    delivery = Delivery({"t.parquet": parquet(columns)})
    assert len(delivery.files["t.parquet"]) > 3 * PIECE_BYTES
    pieces, rejects = delivery.pieces("parquet", ["a"])
    assert rejects == []
    assert sum(piece.table.num_rows for piece in pieces) == 1_000_000
    assert pieces[0].table.column_names == ["a", "@where"]
    assert delivery.bytes_read < 2.5 * PIECE_BYTES
    assert [piece.number for piece in pieces] == list(range(len(pieces)))


def test_parquet_keeps_its_types_and_today_s_tables_read_it() -> None:
    columns = {
        "a": pa.array([1.5, None, 3.25]),
        "b": pa.array([1, 2, 3], pa.int32()),
        "label": pa.array(["yes", "no", "yes"]).dictionary_encode(),
    }
    rows, rejects = Delivery({"t.parquet": parquet(columns)}).rows("parquet")
    assert rejects == []
    assert rows[1] == {"a": None, "b": 2, "label": "no", "@where": "t.parquet:2"}
    records, rejects = read(TABLE, "format: parquet", {"t.parquet": parquet(columns)})
    assert sorted(tuple(one.x.tolist()) for one in records) == [(1.5, 1.0), (3.25, 3.0)]
    assert codes(rejects) == [("t.parquet:2", "missing_value")]


def test_jsonl_is_read_by_today_s_tables_and_a_bad_line_is_set_aside() -> None:
    lines = [
        '{"a": 1.5, "b": 2, "label": "yes"}',
        '{"a": 1.5, "b": 2, "label": "yes"',
        "[1]",
        '{"a": NaN, "b": 2, "label": "no"}',
        '{"a": 1, "a": 2}',
        "",
        '{"a": 3, "label": "no", "b": 4, "tags": ["x", "y"]}',
        "[" * 100_000,
        '{"a": null}',
        '{"a": "\\ud800", "b": 1}',
    ]
    data = "\n".join(lines).encode() + b'\n{"a": "\xff"}\n'
    expected = [
        ("t.jsonl:2", "bad_json"), ("t.jsonl:3", "bad_json"), ("t.jsonl:4", "bad_json"), ("t.jsonl:5", "bad_json"),
        ("t.jsonl:8", "bad_json"), ("t.jsonl:9", "empty_row"), ("t.jsonl:10", "bad_encoding"),
        ("t.jsonl:11", "bad_encoding"),
    ]  # fmt: skip
    rows, rejects = Delivery({"t.jsonl": data}).rows("jsonl")
    assert codes(rejects) == expected
    assert rows[1] == {"a": 3.0, "b": 4, "label": "no", "tags": '["x", "y"]', "@where": "t.jsonl:7"}
    records, rejects = read(TABLE, "format: jsonl", {"t.jsonl.gz": gzip.compress(data, mtime=0)})
    assert sorted(tuple(one.x.tolist()) for one in records) == [(1.5, 2.0), (3.0, 4.0)]
    assert len(rejects) == len(expected)


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "csv"])
def test_whatever_is_done_to_the_bytes_is_told_and_nothing_is_raised(kind: str) -> None:
    columns = {"a": [float(n) for n in range(400)], "b": [f"word {n}" for n in range(400)]}
    lines = [json.dumps({"a": a, "b": b}) for a, b in zip(columns["a"], columns["b"], strict=True)]
    data = {
        "parquet": parquet(columns, row_group_size=100, write_page_checksum=True),
        "jsonl": gzip.compress("\n".join(lines).encode(), mtime=0),
        "csv": ("a,b\n" + "\n".join(f"{a},{b}" for a, b in zip(columns["a"], columns["b"], strict=True))).encode(),
    }[kind]
    key = {"parquet": "t.parquet", "jsonl": "t.jsonl.gz", "csv": "t.csv"}[kind]
    for what, bad in damaged(data):
        delivery = Delivery({key: bad, f"good{key[1:]}": data})
        try:
            rows, rejects = delivery.rows(kind)
        except DataError as error:
            assert key in str(error), what  # noqa: PT017 - many damages, few of which raise
            continue
        good = [row for row in rows if row["@where"].startswith("good")]
        assert len(good) == 400, what
        assert all(one.where.startswith("t.") and one.reason and one.code for one in rejects), what
        if kind == "parquet":
            lost = sum(one.records for one in rejects)
            assert rejects or len(rows) == 800, what
            assert not rejects or lost in (1, 800 - len(rows)), what


def test_a_small_parquet_that_unfolds_to_more_than_memory_is_read_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dictionary names one long text for very many rows."""
    monkeypatch.setattr(parquet_format, "PIECE_TABLE_BYTES", 1 << 20)
    data = parquet({"a": pa.array(["x" * 10_000] * 5_000), "b": list(range(5_000))})
    assert len(data) < 100_000
    pieces, rejects = Delivery({"t.parquet": data}).pieces("parquet")
    assert rejects == []
    assert sum(piece.table.num_rows for piece in pieces) == 5_000
    assert max(piece.table.nbytes for piece in pieces) < 8 << 20
    monkeypatch.setattr(parquet_format, "MOST_CELL_BYTES", 1000)
    _, rejects = Delivery({"t.parquet": data}).pieces("parquet")
    assert [(one.code, one.records) for one in rejects] == [("cell_too_large", 5_000)]


class Named(str):
    """A name that counts how often it is compared."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Named.compared += 1
        return str.__eq__(self, other)

    def __str__(self) -> str:
        Named.compared += 1
        return str.__str__(self)

    def __format__(self, how: str) -> str:
        Named.compared += 1
        return str.__format__(self, how)


def test_a_wide_parquet_takes_time_by_its_columns_and_not_by_their_square() -> None:
    held = io.BytesIO()
    pq.write_table(pa.table({f"feature_{n}": [1.0] for n in range(300)} | {"deep": [{"a": {"b": 1.0}}]}), held)
    opened = pq.ParquetFile(held)
    names = [Named(name) for name in opened.schema_arrow.names]
    assert parquet_format._rows_at_a_time(opened, names) > 1
    assert Named.compared < 10 * len(names)
    assert parquet_format._rows_at_a_time(opened, ["deep", "deep.a"]) == parquet_format.ROWS_AT_A_TIME


CONTRADICTING = """
import io, sys
import pyarrow as pa
from pyarrow import parquet as pq
from tests.unit.sources.sources import Delivery, codes
sink = io.BytesIO()
pq.write_table(pa.table({"a": [1.0], "t": ["x"], "label": ["u"]}), sink)
whole = sink.getvalue()
damaged = whole.replace(b"\\x25\\x02\\x18\\x01t", b"\\x25\\x7f\\x18\\x01t")
assert damaged != whole
rows, rejects = Delivery({"r.parquet": damaged}).rows("parquet")
assert (rows, codes(rejects)) == ([], [("r.parquet:1", "damaged_parquet")]), (rows, rejects)
assert len(Delivery({"r.parquet": whole}).rows("parquet")[0]) == 1
"""


def test_a_footer_that_contradicts_itself_ends_no_process() -> None:
    """Arrow aborts where it is asked about such a column, and not where it reads it."""
    ended = subprocess.run(
        [sys.executable, "-c", CONTRADICTING], cwd=REPOSITORY, capture_output=True, text=True, timeout=300
    )
    assert (ended.returncode, ended.stderr) == (0, "")
