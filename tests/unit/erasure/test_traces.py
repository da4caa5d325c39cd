"""What is taken for a trace of a person, and what is a number or a class that reads like one."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.erasure.traces import Traces


@pytest.mark.parametrize("text", [b'{"p":0.4711}', b"4711.5", b"14711", b"47110"])
def test_digits_inside_a_number_are_no_key(text: bytes) -> None:
    assert not Traces.of(["4711"]).in_text(text)


@pytest.mark.parametrize("text", [b'{"user":4711}', b"id 4711.", b"4711,5\n", b'"4711"'])
def test_digits_by_themselves_are_a_key(text: bytes) -> None:
    assert Traces.of(["4711"]).in_text(text)


def test_a_whole_number_of_a_table_is_a_key_where_the_column_names_a_person() -> None:
    def table(name: str) -> bytes:
        sink = io.BytesIO()
        pq.write_table(pa.table({name: [4711]}), sink)
        return sink.getvalue()

    traces = Traces.of(["4711"], columns=["user"])
    assert traces.in_object(table("user"))
    assert not traces.in_object(table("pixels"))


def test_where_numbers_have_decimal_commas_digits_inside_one_are_no_key() -> None:
    traces = Traces.of(["4711"], decimal_commas=True)
    for text in (b'{"words":"0,4711"}', b"4711,5 EUR", b"1.234,4711"):
        assert not traces.in_text(text)
        assert Traces.of(["4711"]).in_text(text), "elsewhere they are cells of a table"
    for text in (b"a;4711;b", b'{"user":4711,"x":1}', b"of 4711, and"):
        assert traces.in_text(text)


@pytest.mark.parametrize("data", [b'{"user":12,"n":1}', b'["{\\"user\\": 12.0}"]', b'[{"user":12}]'])
def test_a_short_number_under_the_name_of_a_person_is_a_key_and_another_is_none(data: bytes) -> None:
    traces = Traces.of(["12"], names=["user"])
    assert traces.in_object(data)
    assert not traces.in_object(data.replace(b"12", b"1,2"))
    assert not traces.in_object(data.replace(b"12", b"123"))
    assert not traces.in_object(data.replace(b"user", b"uses"))


def test_a_number_of_a_table_is_the_same_whole_number_in_any_type() -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"user": [12.0]}), sink)
    assert Traces.of(["12"], columns=["user"]).in_object(sink.getvalue())
    assert not Traces.of(["1"], columns=["user"]).in_object(sink.getvalue())
