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
