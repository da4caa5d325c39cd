"""A table whose first line is a row already: the file names its columns, and nothing else is different."""

from __future__ import annotations

import gzip
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.pieces import WHERE
from pydantic import ValidationError

from tests.unit.sources.sources import Delivery

NAMES = ["a", "b, c", "label"]
LINES = ["1,x,yes", '2,"y, or z",no', '3," two\nlines",yes', "4,ü,no"]


def read(lines: list[str], *, header: list[str] | None, encoding: str = "utf-8", **more: Any) -> tuple[Any, Any, Any]:
    """Rows one by one, rows in pieces, and what was set aside, each with its line."""
    delivery = Delivery({"p/t.csv": "\n".join(lines).encode(encoding)})
    options = {"quotes": "cells", "slice_columns": None, **more, "header": header}
    examples, rejects = delivery.examples("csv", NAMES[:2], **options)
    pieces, also = delivery.pieces("csv", None, **options)
    assert [(one.where, one.code) for one in rejects] == [(one.where, one.code) for one in also]
    in_pieces = [row for piece in pieces for row in piece.table.to_pylist()]
    return [(one.where, dict(one.values), one.label) for one in examples], in_pieces, rejects


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([*LINES, "5,ragged", ",,", "6,7,8,9"]), max_size=12), st.booleans())
def test_it_is_read_as_the_same_table_below_its_header_one_line_up(more: list[str], blank: bool) -> None:
    lines = [*LINES, *more, *([""] if blank else [])]
    under = read(['a,"b, c",label', *lines], header=None)
    alone = read(lines, header=NAMES)

    def up(where: str) -> str:
        file, line = where.split(":")
        return f"{file}:{int(line) - 1}"

    assert alone[0] == [(up(where), values, label) for where, values, label in under[0]]
    assert alone[1] == [{**row, WHERE: up(row[WHERE])} for row in under[1]]
    assert [one.where for one in alone[2]] == [up(one.where) for one in under[2]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_mark_stays_before_everything(encoding: str) -> None:
    assert read(LINES, header=NAMES, encoding=encoding)[1] == read(LINES, header=NAMES)[1]


def test_a_packed_one_is_unpacked_first() -> None:
    files = {"p/t.csv.gz": gzip.compress("\n".join(LINES).encode())}
    pieces, rejects = Delivery(files).pieces("csv", None, header=NAMES, quotes="cells")
    assert (sum(len(one.table) for one in pieces), rejects) == (len(LINES), [])


def test_a_first_row_that_is_ragged_costs_itself_alone() -> None:
    rows, in_pieces, rejects = read(["1,2", *LINES], header=NAMES)
    assert len(rows) == len(in_pieces) == len(LINES)
    assert [(one.where, one.code) for one in rejects] == [("p/t.csv:1", "ragged_row")]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['a,"b, c",label', *LINES], "its first line is what source.header names; remove source.header, or the line"),
        (["1,2,3,4"] * 4, "its rows have 4 cells, and source.header names 3 columns"),
        ([""], "empty file"),
    ],
)
def test_what_cannot_be_is_set_aside_whole(lines: list[str], words: str) -> None:
    rows, in_pieces, rejects = read(lines, header=NAMES)
    assert (rows, in_pieces) == ([], [])
    assert words in rejects[0].reason


@pytest.mark.parametrize("key", ["p/t.csv", "p/t.csv.gz"])
@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (['a,"b, c",label', *LINES[:2] * 10_000], 20_000),
        (["1,2,3,4"] * 40_000, 40_000),
        (["1,2,3,4"] * 3, 3),
    ],
)
def test_all_rows_of_a_refused_file_are_counted(lines: list[str], rows: int, key: str) -> None:
    text = "\r\n".join(lines).encode()
    delivery = Delivery({key: gzip.compress(text) if key.endswith(".gz") else text})
    options = {"header": NAMES, "quotes": "cells", "slice_columns": None}
    told = [delivery.examples("csv", NAMES[:2], **options)[1], delivery.pieces("csv", None, **options)[1]]
    assert [[one.records for one in rejects] for rejects in told] == [[rows], [rows]]


@pytest.mark.parametrize("header", [[], ["a", "a"], ["a", ""], ["a", " b"]])
def test_names_that_are_none_are_refused_in_the_file(header: list[str]) -> None:
    with pytest.raises(ValidationError):
        CsvOptions(prefix="p/", header=tuple(header))
