"""Few cells of a request are read without Arrow: as no other value, and not where something is wrong with one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mlratchet.models.preparation.vocabulary import Vocabulary
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.kinds import read_column, type_of
from mlratchet.models.schema.notation import Notation
from mlratchet.models.schema.plain import FEW, are_plain
from mlratchet.models.schema.request import FieldError, parse_examples

WORDS = st.one_of(
    st.none(),
    st.sampled_from(["a", "b", "", " a", "a ", "a\x1c", "\x85a", "é", "e\u0301", "a\0", "\tb", "A"]),
    st.text(),
)
NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-5, 5).map(float), st.sampled_from([3.4e38, 3.5e38, -0.0]))
NUMBER_FIELDS = [
    Field(kind="number"),
    Field(kind="number", nullable=True, whole=True),
    Field(kind="number", minimum=-1.5, maximum=2, nullable=True),
    Field(kind="number", minimum=0),
]
WORD_FIELDS = [
    Field(kind="category"),
    Field(kind="category", nullable=True, values=("a", "b")),
    Field(kind="text", nullable=True),
    Field(kind="entity"),
]


def check(values: list[Any], field: Field) -> None:
    raw = pa.array(values, type=pa.float64() if field.kind == "number" else pa.string())
    read = read_column("x", raw, field, Notation(), ())
    if are_plain(values, field):
        assert not any(fault.rows.any() for fault in read.faults)
        assert pa.array(values, type=type_of(field)).equals(read.values)


@given(values=st.lists(NUMBERS, min_size=1, max_size=FEW), field=st.sampled_from(NUMBER_FIELDS))
@example(values=[2.0, None, -1.5], field=NUMBER_FIELDS[2])
def test_numbers_are_plain_only_where_a_whole_column_reads_the_same(values: list[Any], field: Field) -> None:
    check(values, field)


@given(values=st.lists(WORDS, min_size=1, max_size=FEW), field=st.sampled_from(WORD_FIELDS))
@example(values=["a", None], field=WORD_FIELDS[1])
def test_words_are_plain_only_where_a_whole_column_reads_the_same(values: list[Any], field: Field) -> None:
    try:
        check(values, field)
    except UnicodeEncodeError:  # half of a surrogate pair is refused before
        assert not are_plain(values, field)


def test_what_people_send_is_plain() -> None:
    assert are_plain([1.0, -2.5], NUMBER_FIELDS[0])
    assert are_plain([None, 2.0], NUMBER_FIELDS[2])
    assert are_plain(["town 3", "x y"], WORD_FIELDS[0])
    assert not are_plain([1.0] * (FEW + 1), NUMBER_FIELDS[0])
    assert not are_plain([["a"]], Field(kind="category", several=True, values=("a", "b")))


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 40])
def test_an_error_is_told_alike_of_few_and_many(count: int) -> None:
    schema = Schema(fields={"x": Field(kind="number", maximum=3, unit="m"), "y": Field(kind="category")}, label="y")
    with pytest.raises(FieldError, match=r"example 0: field 'x': got 4\.0 m, expected 3\.0 or less") as caught:
        parse_examples([{"x": 4}, *[{"x": 1}] * (count - 1)], schema)
    assert (caught.value.rule, caught.value.row) == ("above_maximum", 0)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 60])
def test_codes_are_the_same_of_few_and_many(count: int) -> None:
    known = Vocabulary(["a", "b"], first=2)
    values = (["a", None, "c", "b"] * count)[:count]
    found = known.codes(pa.chunked_array([pa.array(values, type=pa.string())]), missing=1)
    assert found.dtype == np.int64
    assert found.tolist() == ([2, 1, 0, 3] * count)[:count]
