"""How much is held at once while a batch is scored: rows, bytes of them, and what a version answers, however few bytes
the objects have."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.artifact.signature import InputSpec, Signature
from mlratchet.models.errors import DataError
from mlratchet.models.scoring import in_child
from mlratchet.models.scoring.in_child import full_pieces, piece_rows
from mlratchet.models.scoring.job import RowFormat
from mlratchet.models.scoring.reading import raw_pieces
from mlratchet.models.scoring.rows import row_reader
from mlratchet.models.sources import jsonl
from mlratchet.models.sources.pieces import PIECE_TABLE_BYTES, WHERE, RawPiece
from mlratchet.models.sources.record import Reject
from mlratchet.models.tensors.spec import TensorSpec

from tests.unit.sources.sources import Delivery


def of_classes(count: int, columns: tuple[str, ...] = ("a", "b")) -> Signature:
    """A table's, with so many classes."""
    spec = InputSpec(kind="table", shape=(len(columns),), dtype="float32", columns=columns)
    return Signature(task="classification", classes=tuple(f"c{number}" for number in range(count)), input=spec)


def held(signature: Signature, form: str, files: Mapping[str, bytes], rows: int | None = None) -> Iterator[list[Any]]:
    """What is scored together."""
    delivery = Delivery(files)
    how = RowFormat(format=form, options={"prefix": "p/", "format": form})
    reader = row_reader(signature, how)

    def opened(item: Any) -> io.BytesIO:
        return io.BytesIO(delivery.fetch(item))

    found = raw_pieces(how, delivery.objects(), opened, needed=reader.needed)
    return full_pieces(found, reader, rows if rows is not None else piece_rows(signature))


def rows_in(piece: list[Any]) -> int:
    return sum(one.records if isinstance(one, Reject) else one.table.num_rows for one in piece)


def test_small_rows_of_a_large_file_are_no_one_piece() -> None:
    text = b"a,b\n" + b"1,2\n" * 300_000
    for name, data in (("p/t.csv", text), ("p/t.csv.gz", gzip.compress(text))):
        counts = [rows_in(piece) for piece in held(of_classes(2), "csv", {name: data})]
        assert sum(counts) == 300_000
        assert max(counts) < 2 * in_child.PIECE_ROWS


def test_a_table_without_rows_is_nothing_whatever_its_columns_are(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = row_reader(of_classes(2), RowFormat(format="csv", options={"prefix": "p/", "format": "csv"}))
    monkeypatch.setattr(reader, "notation", Mock(side_effect=DataError("column 'a' is missing")))
    for rows, pieces in ((0, []), (2, [[2]])):
        table = pa.table(
            {"x": ["1"] * rows, WHERE: ["p/a.csv:2"] * rows}, pa.schema([("x", "string"), (WHERE, "string")])
        )
        found = full_pieces(iter([RawPiece("p/a.csv", 0, table)]), reader, 9)
        assert [[one.records for one in piece if isinstance(one, Reject)] for piece in found] == pieces


@pytest.mark.parametrize("classes", [2, 1000, 20_000])
def test_the_more_a_version_answers_the_fewer_rows_are_a_piece(classes: int) -> None:
    rows = piece_rows(of_classes(classes))
    assert 1 <= rows <= in_child.PIECE_ROWS
    assert rows * classes <= in_child.PIECE_NUMBERS
    counts = [rows_in(piece) for piece in held(of_classes(classes), "csv", {"p/t.csv": b"a,b\n" + b"1,2\n" * 9000})]
    assert sum(counts) == 9000
    assert max(counts) < 2 * rows


def test_pieces_end_where_they_did_before_whatever_was_scored_of_them() -> None:
    files = {f"p/{number}.csv": b"a,b\n" + b"1,2\n" * 70 + b"1\n" * number for number in range(5)}
    first, again = ([[str(one) for one in piece] for piece in held(of_classes(2), "csv", files, 50)] for _ in range(2))
    assert first == again
    assert sum(1 for _ in first) >= 5


def test_how_numbers_are_written_is_told_by_all_that_was_read_together() -> None:
    """`1,234` is a thousand or one: the row that tells which is in another piece."""
    lines = [b"a;b", *[b'"1,234";2'] * 30, b'"0,5";2']
    (piece, *more) = held(of_classes(2), "csv", {"p/t.csv": b"\n".join(lines)}, 10)
    reader = row_reader(of_classes(2), RowFormat(format="csv", options={"prefix": "p/"}))
    (rows,) = (found for one in piece for found in reader.read(one.table, one.notation))
    assert not isinstance(rows, Reject)
    assert rows.x.arrays()["x"][:, 0].tolist() == [np.float32(1.234)] * 10
    assert len(more) == 3


@pytest.mark.slow
def test_lists_that_hardly_take_bytes_in_parquet_are_decoded_some_at_a_time() -> None:
    sink = io.BytesIO()
    width, rows = 4096, 16_384
    values = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(width * rows, np.float32)), width)
    pq.write_table(pa.table({"x": values}), sink, compression="zstd")
    data = sink.getvalue()
    assert len(data) < 1 << 20
    spec = (TensorSpec(name="x", shape=(width,), dtype="float32"),)
    signature = Signature(
        task="regression", classes=(), input=InputSpec(kind="named", shape=(), dtype="float32", tensors=spec)
    )
    counts = []
    for piece in held(signature, "parquet", {"p/t.parquet": data}):
        assert all(one.table.nbytes <= 3 * PIECE_TABLE_BYTES for one in piece)
        counts.append(rows_in(piece))
    assert sum(counts) == rows


def test_long_texts_of_a_format_that_gives_examples_are_no_one_piece() -> None:
    fasta = b"".join(b">s%d\n%s\n" % (number, b"ACGT" * 500_000) for number in range(30))
    pieces, _ = Delivery({"p/t.fasta": fasta}).pieces("fasta")
    assert sum(one.table.num_rows for one in pieces) == 30
    assert max(one.table.nbytes for one in pieces) <= 2 * PIECE_TABLE_BYTES


def test_lines_that_each_name_other_things_are_no_one_wide_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "PIECE_CELLS", 10_000, raising=False)
    lines = b"".join(b'{"k%d": 1}\n' % number for number in range(1000))
    pieces, rejects = Delivery({"p/t.jsonl": lines}).pieces("jsonl")
    assert rejects == []
    assert sum(one.table.num_rows for one in pieces) == 1000
    assert max(one.table.num_rows * one.table.num_columns for one in pieces) <= 11_000
