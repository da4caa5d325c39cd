"""A delimited file in pieces gives what the careful reader gives of the whole, however it is cut and read."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.sources.csv_pieces import DelimitedPieces
from mlratchet.models.sources.delimited import BadRow, CsvTable, Dialect
from mlratchet.models.sources.pieces import WHERE
from mlratchet.models.sources.plain_rows import plain_table
from mlratchet.models.sources.record import Reject
from mlratchet.models.sources.record_ends import last_record_end

CELLS = st.sampled_from(
    [
        "1",
        "2.5",
        "",
        " a ",
        '"x"',
        '"a,b"',
        '"say ""hi"""',
        '""',
        "ü",
        "e\u0301",
        "\u00a0b",
        '"two\nlines"',
        '32" panel',
        "c",
    ]
)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=0, max_size=12)


def piecewise(data: bytes, dialect: Dialect, piece_bytes: int) -> tuple[list[dict[str, str]], list[Reject], int]:
    reading = DelimitedPieces(io.BytesIO(data), "t.csv", dialect, piece_bytes)
    rows, rejects, pieces = [], [], 0
    for one in reading.pieces(reading.head(), None):
        if isinstance(one, Reject):
            rejects.append(one)
        else:
            pieces += 1
            rows += one.table.to_pylist()
    return rows, rejects, pieces


def carefully(data: bytes, dialect: Dialect) -> tuple[list[dict[str, str]], list[tuple[str, str]]]:
    table = CsvTable(data, "t.csv", dialect)
    rows, rejects = [], []
    for row in table.rows():
        if isinstance(row, BadRow):
            rejects.append((f"t.csv:{row.number}", row.code))
        else:
            rows.append({**row.values, WHERE: f"t.csv:{row.number}"})
    return rows, rejects


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]), piece=st.integers(8, 200), last=st.booleans())
def test_pieces_give_what_the_careful_reader_gives_of_the_whole(
    rows: list[list[str]], end: str, piece: int, last: bool
) -> None:
    lines = ["a,b,c", "1,2,3", *[",".join(row) for row in rows], "7,8,9"]
    data = (end.join(lines) + (end if last else "")).encode()
    dialect = Dialect(quotes="cells", delimiter=",")
    try:
        expected = carefully(data, dialect)
    except Exception:
        return  # refused as a whole: pieces may use what stands before the fault
    got, rejects, _ = piecewise(data, dialect, piece)
    assert got == expected[0]
    assert [(one.where, one.code) for one in rejects] == expected[1]


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, none=st.booleans())
def test_what_is_read_by_column_is_what_the_careful_reader_reads(rows: list[list[str]], none: bool) -> None:
    body = "".join(",".join(row) + "\n" for row in rows).encode()
    found = plain_table(body, ["a", "b"], ",", quotes_open_cells=not none, wanted=None)
    if found is None:
        return
    expected, rejects = carefully(b"a,b\n" + body, Dialect(quotes="none" if none else "cells", delimiter=","))
    assert rejects == []
    assert found.to_pylist() == [{name: row[name] for name in ("a", "b")} for row in expected]


@pytest.mark.parametrize(
    ("body", "plain"),
    [
        (b"1,2\n3,4\n", True),
        (b'"a","b, c"\n"say ""hi""",\n', True),
        (b"1,2\r\n3,4", True),
        ("ü,2\n".encode(), True),
        (b"1,2\n\n3,4\n", False),
        (b"1,2,3\n", False),
        (b"1\n", False),
        (b'"a\nb",2\n', False),
        (b'32" panel,2\n', False),
        (b'a",2\nb,"c\n', False),
        (b"1,\x00\n", False),
        (b"1,\xff\n", False),
        (b"1,2\r3,4\n", False),
        (b" , \n1,2\n", False),
        ("e\u0301,2\n".encode(), False),
        (b"1," + b"x" * 200_000 + b"\n", False),
    ],
)
def test_only_what_is_certain_is_read_by_column(body: bytes, plain: bool) -> None:
    found = plain_table(body, ["a", "b"], ",", quotes_open_cells=True, wanted=None)
    assert (found is not None) == plain


@pytest.mark.parametrize(
    ("block", "end"),
    [
        (b"1,2\n3,4\n5,", 8),
        (b'1,"a\nb"\n3,"x\ny', 8),
        (b'1,"open\n2,3\n', 0),
        (b'32" panel,2\n3,4\n5', 16),
        (b'"a""\n","b"\n"c', 11),
    ],
)
def test_a_file_is_cut_between_two_records(block: bytes, end: int) -> None:
    assert last_record_end(block, ",", quotes_open_cells=True) == end


def test_a_file_of_many_pieces_names_the_lines_of_its_rows() -> None:
    lines = [f"{n},{n / 7}" for n in range(5000)]
    lines[3000] = "3000"
    data = ("a,b\n" + "\n".join(lines) + "\n").encode()
    rows, rejects, pieces = piecewise(data, Dialect(), 4096)
    assert pieces > 5
    assert [(one.where, one.code) for one in rejects] == [("t.csv:3002", "ragged_row")]
    assert len(rows) == 4999
    assert rows[-1] == {"a": "4999", "b": str(4999 / 7), WHERE: "t.csv:5001"}
