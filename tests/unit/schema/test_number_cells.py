"""A column of numbers is read at once as it was read cell by cell: the same values and the same refusals."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.schema.number_cells import read_numbers, see_numbers, why_not
from mlratchet.models.schema.numbers import CellError, Mark, Seen, read_number

WRITTEN = [
    "",
    "-",
    "1",
    "+5",
    "007",
    "1.5",
    "1,5",
    ".5",
    ",5",
    "5.",
    "5,",
    "1.234",
    "1,234",
    "0.123",
    "0,123",
    "1e5",
    "1E-3",
    "1,5e2",
    "1.234e2",
    "1,234,567",
    "1.234.567",
    "1.234,5",
    "1,234.5",
    "1,234,56",
    "12,34.5",
    "nan",
    "inf",
    "-Infinity",
    "1e400",
    "3.5e38",
    "1_000",
    "x",
    "0x10",
    "1 000",
    "--1",
    "1.2.3",
    "1.e",
    "e5",
    "٣",
    "1,234.5e1",
    "-1.234",
    "1.234,",
    "1,234.",
    ".",
    ",",
    "9" * 401,
    "1." + "0" * 500,
]
CELLS = st.one_of(st.sampled_from(WRITTEN), st.text("0123456789.,eE+-_ ", max_size=9).map(str.strip))


def one_by_one(text: str, decimal: Mark) -> float | str:
    try:
        return read_number(text, decimal=decimal)
    except CellError as error:
        return error.code


def at_once(texts: list[str], decimal: Mark) -> list[float | str]:
    cells = pa.array([text or None for text in texts], type=pa.string())
    read = read_numbers(cells, decimal).to_pylist()
    return [
        value if value is not None else ("missing_value" if not text else why_not(text, decimal)[0])
        for value, text in zip(read, texts, strict=True)
    ]


@settings(max_examples=300, deadline=None)
@given(st.lists(CELLS, max_size=8), st.sampled_from(["", ".", ","]))
def test_values_and_refusals_are_those_of_single_cells(texts: list[str], decimal: Mark) -> None:
    assert at_once(texts, decimal) == [one_by_one(text, decimal) for text in texts]


@pytest.mark.parametrize("decimal", ["", ".", ","])
def test_every_way_to_write_a_number_is_read_alike(decimal: Mark) -> None:
    assert at_once(WRITTEN, decimal) == [one_by_one(text, decimal) for text in WRITTEN]


@settings(max_examples=300, deadline=None)
@given(st.lists(CELLS, max_size=8))
def test_the_marks_of_a_column_are_counted_as_cell_by_cell(texts: list[str]) -> None:
    singly, at_once = Seen(), Seen()
    places = [f"r.csv:{number}" for number in range(len(texts))]
    for where, text in zip(places, texts, strict=True):
        if text:
            singly.add(where, text)
    see_numbers(
        at_once, pa.array([text or None for text in texts], type=pa.string()), pa.array(places, type=pa.string())
    )
    telling = {"point", "comma", "point_or_thousands", "comma_or_thousands"}
    assert at_once.counts == {shape: count for shape, count in singly.counts.items() if shape in telling}
    assert at_once.first == {shape: first for shape, first in singly.first.items() if shape in telling}
