"""Files that are called tables and begin as something else: they are refused in words that say what to do."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import pytest
from mlratchet.models.sources.csv_pieces import DelimitedPieces
from mlratchet.models.sources.delimited import CsvTable, Dialect, UnreadableTableError
from mlratchet.models.sources.headless import below_its_header

NO_TABLE = (
    b"sep=;\na;b\n1;2\n",
    b"\xef\xbb\xbf\r\nSEP=,\r\na,b\r\n1,2\r\n",
    b'"sep=;"\na,b;c\n1,2;3\n',
    b"sep=;;\na;b\n",
)
PAGE = (b"<html><body>502 Bad Gateway</body></html>\n", b"<!DOCTYPE html>\n<p>a,b\n", b"<?xml version='1.0'?><Error/>")


@pytest.mark.parametrize("data", [*NO_TABLE, *PAGE])
@pytest.mark.parametrize("dialect", [Dialect(), Dialect(delimiter=";")])
@pytest.mark.parametrize("header", [None, ("a", "b")])
def test_a_first_line_that_is_no_row_is_told(data: bytes, dialect: Dialect, header: tuple[str, ...] | None) -> None:
    source: Any = io.BufferedReader(io.BytesIO(data.removeprefix(b"\xef\xbb\xbf")))
    below = partial(below_its_header, source, header or (), "day.csv", dialect)
    words = "page of HTML or XML" if data in PAGE else "delete that line, and set source.delimiter"
    with pytest.raises(UnreadableTableError, match=words) as told:
        DelimitedPieces(source, "day.csv", dialect).head() if header is None else below()
    assert (told.value.rule, told.value.records >= 1) == ("bad_header", True)
    if header is None:
        with pytest.raises(UnreadableTableError, match=words):
            CsvTable(data, "day.csv", dialect)


@pytest.mark.parametrize("data", [b"sep,b\n1,2\n", b"<5,a\n1,2\n", b"sep=x,b\n1,2\n", b"<html,b\n1,2\n"])
def test_names_that_look_alike_are_names(data: bytes) -> None:
    assert len(list(CsvTable(data, "day.csv").rows())) == 1
