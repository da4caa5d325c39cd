"""Tables of any dialect: every line of a file is read, set aside or blank, and what cannot be told is an error."""

from __future__ import annotations

import csv
import io
import time
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.errors import DataError
from mlratchet.models.sources.delimited import BadRow, CsvTable, Dialect, Row, UnreadableTableError

COUNT = 300
LINES = ["a,b,label,note\n", *(f"{i},{2 * i},{i % 2},panel {i}\n" for i in range(COUNT))]


def with_cells(changes: dict[int, str]) -> bytes:
    lines = list(LINES)
    for line, note in changes.items():
        lines[line] = lines[line].replace(f"panel {line - 1}", note)
    return "".join(lines).encode()


def rows_of(data: bytes, **dialect: str) -> tuple[list[Row], list[BadRow]]:
    found = list(CsvTable(data, "r.csv", Dialect(**dialect)).rows())  # type: ignore[arg-type]
    return [one for one in found if isinstance(one, Row)], [one for one in found if isinstance(one, BadRow)]


@pytest.mark.parametrize(
    "changes",
    [
        {100: '"32 inch panel'},  # never closed
        {100: '"32 inch panel', 200: 'a 24" panel'},  # closed inside another cell
        {100: '"32 inch panel', 200: 'panel 24"'},  # closed at the end of another row
        {100: '"32 inch panel', 101: 'panel 24"'},  # the very next one
        {100: '"32 inch panel', 200: '"in quotes"'},
        {100: '"32 inch panel', 200: '""'},
    ],
)
def test_a_quote_that_takes_in_rows_is_an_error_with_file_and_line(changes: dict[int, str]) -> None:
    with pytest.raises(UnreadableTableError, match=r"^r\.csv:101: a quote.*source\.quotes") as caught:
        CsvTable(with_cells(changes), "r.csv")
    assert (caught.value.rule, caught.value.records) == ("open_quote", COUNT)


@given(st.integers(1, COUNT), st.integers(1, COUNT), st.sampled_from(['24"', '"24"', 'a "b" c', '"x', '"']))
def test_no_quote_makes_rows_vanish(opened: int, other: int, cell: str) -> None:
    """Wherever quotes stand: as many rows are read and set aside as the file holds, or it is an error."""
    try:
        told = sum(map(len, rows_of(with_cells({opened: '"32 inch', other: cell}))))
    except UnreadableTableError as error:
        told = error.records
    assert told == COUNT


def test_a_declared_reading_is_taken() -> None:
    data = with_cells({100: '"32 inch panel', 200: 'panel 24"'})
    good, bad = rows_of(data, quotes="none")
    assert (len(good), bad) == (COUNT, [])
    assert good[99].values["note"] == '"32 inch panel'
    good, bad = rows_of(data, quotes="cells")
    assert (len(good), bad) == (COUNT - 100, [])
    assert good[99].values["note"].startswith("32 inch panel\n100,200,0,panel")


def test_a_cell_with_line_breaks_is_read() -> None:
    text = 'id,note,label\n1,"one\ntwo, three\n",x\n2,"a ""quoted"" word\r\nand more",y\n3,"first, second",x\n'
    good, bad = rows_of(text.encode())
    assert bad == []
    assert [(row.number, row.values["label"]) for row in good] == [(2, "x"), (5, "y"), (7, "x")]
    assert good[1].values["note"] == 'a "quoted" word\r\nand more'


def test_a_last_column_of_prose_is_no_swallowed_row() -> None:
    lines = [f'{"pos" if n % 2 else "neg"},"first line {n}\nsecond, line"\n' for n in range(20)]
    good, bad = rows_of(("label,note\n" + "pos,short\nneg,short\n" * 5 + "".join(lines)).encode())
    assert (len(good), bad) == (30, [])


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('1,"32" inch,x', "bad_quote", "expected after"),
        ('1,"32 inch,x', "bad_quote", "unexpected end of data"),
        ("1,2", "ragged_row", "got 2 fields, expected 3"),
        (",,", "empty_row", "every cell is empty"),
        ("1,\udcff,x", "bad_encoding", "got byte 0xff, expected UTF-8"),
        ("1,\0,x", "nul_byte", "NUL byte"),
        (f"1,{'x' * 200_000},y", "cell_too_large", "got a cell of 200,000 characters, expected at most 131,072"),
    ],
)
def test_a_bad_line_is_set_aside_and_the_next_one_is_read(line: str, code: str, words: str) -> None:
    ending = "" if "end of data" in words else "\n9,9,z\n"
    data = f"a,b,label\n1,2,x\n{line}{ending}".encode(errors="surrogateescape")
    good, bad = rows_of(data)
    assert [(one.number, one.code) for one in bad] == [(3, code)]
    assert words in bad[0].words
    assert [row.number for row in good] == ([2, 4] if ending else [2])


def test_blanks_beside_quotes_are_forgiven() -> None:
    good, bad = rows_of(b'"a" , "b" ,"label"\n"1" ,"2","x" \n')
    assert bad == []
    assert good[0].values == {"a": "1", "b": "2", "label": "x"}


def test_blank_lines_and_the_empty_rows_of_a_spreadsheet_are_nothing() -> None:
    good, bad = rows_of(b"\n  \na,b\n\n1,2\n   \n3,4\n,\n,\n\n")
    assert [row.values for row in good] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert bad == []


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b" \n\n", "empty_file"),
        (b",,,\n,,,\n", "bad_header"),
        (b'"a,b\n1,2\n', "open_quote"),
        (b'"a"x,b\n1,2\n', "bad_header"),
        (b"a,b,c,c\n1,2,3,4\n", "bad_header"),
        (b"a,b,gr\xf6\n1,2,3\n", "bad_header"),
        (b"a,b,,\n1,2,,x\n", "bad_header"),
        (b"\xff\xfea\x00,\x00b\x00\n\x00\x00\xd8", "bad_encoding"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, code: str) -> None:
    with pytest.raises(UnreadableTableError, match=r"^r\.csv") as caught:
        CsvTable(data, "r.csv")
    assert caught.value.rule == code
    assert caught.value.records >= 1


def test_two_delimiters_that_split_alike_are_an_error_unless_one_is_declared() -> None:
    data = b"a,b;c\n1,2;3\n"
    with pytest.raises(
        DataError, match=r"r\.csv:1: ',' and ';' both split it into 2 columns; declare source.delimiter"
    ):
        CsvTable(data, "r.csv")
    assert rows_of(data, delimiter=";")[0][0].values == {"a,b": "1,2", "c": "3"}


def test_text_is_read_in_the_composed_form() -> None:
    decomposed = unicodedata.normalize("NFD", "Größe,label\n1,öl\n")
    good, _ = rows_of(decomposed.encode())
    assert good[0].values == {unicodedata.normalize("NFC", "Größe"): "1", "label": unicodedata.normalize("NFC", "öl")}


CELL = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters='\0,;\t|"\ufeff'), max_size=8).map(
    lambda text: unicodedata.normalize("NFC", text.strip())
)


@given(
    st.lists(st.tuples(st.integers(-99, 99), CELL, st.sampled_from(["x", "y"])), min_size=1, max_size=30),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_was_written_in_any_dialect_is_read(
    rows: list[tuple[int, str, str]], delimiter: str, ending: str, quoting: int, encoding: str
) -> None:
    sink = io.StringIO()
    writer = csv.writer(sink, delimiter=delimiter, lineterminator=ending, quoting=quoting)  # type: ignore[arg-type]
    writer.writerow(["number", "note", "label"])
    writer.writerows(rows)
    good, bad = rows_of(sink.getvalue().encode(encoding))
    assert bad == []
    assert [tuple(row.values.values()) for row in good] == [(str(n), note.strip(), label) for n, note, label in rows]


@given(st.binary(max_size=400))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(data: bytes) -> None:
    try:
        table = CsvTable(data, "r.csv")
    except DataError:
        return
    numbers = [row.number for row in table.rows()]
    assert all(earlier < later for earlier, later in pairwise(numbers))


@given(st.lists(st.sampled_from(['"', ",", "a", "\n", "1", " ", '""', "\r\n"]), max_size=60).map("".join))
def test_whatever_quotes_a_file_holds_no_line_vanishes(text: str) -> None:
    """A line is the beginning of a row, part of a quoted cell, or blank."""
    try:
        table = CsvTable(f"a,b\n{text}".encode(), "r.csv")
    except DataError:
        return
    begun = {row.number for row in table.rows()}
    inside = {line for one in table._found for line in range(one.first + 1, one.last + 1)}
    held = {n for n, line in enumerate(f"a,b\n{text}".splitlines(), 1) if n > 1 and line.strip(' ,"')}
    assert held <= begun | inside


def test_columns_at_the_end_without_name_and_cells_are_nothing() -> None:
    good, bad = rows_of(b"a,b,,\n1,2,,\n3,4, ,\n5,6\n7,8,,,\n")
    assert [row.values for row in good] == [{"a": str(n), "b": str(n + 1)} for n in (1, 3, 5)]
    assert [(one.number, one.code) for one in bad] == [(5, "ragged_row")]


def swallowing(before: list[str], inside: list[str], behind: Sequence[str] = ()) -> str:
    """A table with an inch mark that opens a cell, and one that closes it many rows later."""
    opened, closed = '7,2,"12in,eu,0', '9,3,12",us,0'
    return "\n".join(["a,b,size,region,label", *before, opened, *inside, closed, *behind, ""])


def sizes(count: int, regions: str = "eu", *, b: str = "", size: str = "in") -> list[str]:
    names = regions.split()
    return [f"{i},{b or 2 * i},{f'{i}{size}' if size else ''},{names[i % len(names)]},{i % 2}" for i in range(count)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(swallowing(sizes(300), sizes(299, "us")), id="sorted by region"),
        pytest.param(swallowing(sizes(40, "eu us"), sizes(500, "eu us cn jp br")), id="new names behind the quote"),
        pytest.param(swallowing(sizes(400, size=""), sizes(500)), id="a column that was empty before"),
        pytest.param(swallowing(sizes(400), sizes(500, b="NA")), id="numbers that are missing"),
        pytest.param(swallowing([*sizes(400), "1,n/k,x,eu,0"], sizes(500)), id="a word among the numbers"),
        pytest.param(swallowing([], sizes(500, "eu us")), id="every row"),
        pytest.param(
            "id,text\n" + "".join(f"u{i:x},good {i}\n" for i in range(9)) + 'v,"12in\nw,x\ny,z\nz,a\nb,12"\n',
            id="neither numbers nor names",
        ),
        pytest.param('id,text\nu,x y\nv,"12in\nw,12"\nx,"5" or so\n', id="a later quote is malformed"),
    ],
)
def test_rows_that_a_quote_takes_in_vouch_for_each_other(text: str) -> None:
    with pytest.raises(UnreadableTableError, match=r"source\.quotes: cells") as caught:
        CsvTable(text.encode(), "r.csv")
    assert caught.value.rule == "open_quote"


def test_one_text_with_a_line_alike_sets_no_file_aside() -> None:
    rows = [f"u{i:04x},good day {i}" for i in range(1000)]
    rows[500] = 'u500,"see you,\nthen, bye"'
    good, bad = rows_of("\n".join(["id,text", *rows, ""]).encode())
    assert (len(good), bad) == (1000, [])


def test_a_table_of_texts_with_line_breaks_alone_is_read() -> None:
    letter = "Dear sir,\nplease, see, this\nthank you, and, bye"
    good, bad = rows_of(("id,text,label\n" + "".join(f'{i},"{letter}",x\n' for i in range(50))).encode())
    assert (len(good), bad) == (50, [])


def test_a_large_cell_with_line_breaks_is_too_large_and_no_open_quote() -> None:
    good, bad = rows_of(('id,text,label\n1,"' + "word \n" * 40_000 + '",0\n2,x,1\n').encode())
    assert [row.values["id"] for row in good] == ["2"]
    assert [(one.number, one.code) for one in bad] == [(2, "cell_too_large")]


def test_a_long_cell_of_digits_takes_no_time() -> None:
    began = time.process_time()
    CsvTable(f'a,b,label\n{"1" * 16_000}x,2,y\n1,"x\ny",z\n'.encode(), "r.csv")
    assert time.process_time() - began < 1.0
