"""Types that a column of Parquet or JSONL can have: read as what they are, or told with the file."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlratchet.models.errors import DataError

from tests.unit.sources.planted.reading import COUNT, read
from tests.unit.sources.planted.tables import TABLE, TABLES, as_parquet, row


def test_a_column_of_another_type_is_told_with_its_file() -> None:
    rows = [row(number) | {"a": [number]} for number in range(COUNT)]
    with pytest.raises(
        DataError, match=r"^t\.parquet: column 'a': its type is list<.*expected a number; `ratchet schema"
    ):
        read({"t.parquet": as_parquet(rows)}, TABLE, "format: parquet")
    rows = [row(number) | {"day": 1767225600 + number} for number in range(COUNT)]
    with pytest.raises(DataError, match="column 'day': its type is int64, expected a time; declare its format as unix"):
        read({"t.jsonl": TABLES["jsonl"][2](rows)}, TABLE, "format: jsonl")


ODD: dict[str, tuple[pa.Array, str, Any]] = {  # type -> column, kind, the first value as a client sends it
    "decimal128": (pa.array(["0.25", "7.5"]).cast(pa.decimal128(10, 2)), "{kind: number}", 0.25),
    "decimal256": (pa.array(["0.25", "7.5"]).cast(pa.decimal256(40, 2)), "{kind: number}", 0.25),
    "half float": (pa.array([0.5, 1.5], pa.float16()), "{kind: number}", 0.5),
    "nullable int": (pa.array([7, None], pa.int32()), "{kind: number, nullable: true}", 7.0),
    "bool": (pa.array([True, False]), "{kind: category}", "true"),
    "nulls": (pa.nulls(2), "{kind: number, nullable: true}", None),
    "date32": (pa.array([20454, 20455], pa.date32()), "{kind: time}", "2026-01-01T00:00:00Z"),
    "date64": (pa.array([20454, 20455], pa.date32()).cast(pa.date64()), "{kind: time}", "2026-01-01T00:00:00Z"),
    "zoned ns": (
        pa.array([1767225600 * 10**9, 1767225601 * 10**9], pa.timestamp("ns", "Europe/Berlin")), "{kind: time}",
        "2026-01-01T00:00:00Z",
    ),
    "naive s": (pa.array([1767225600, 1767225601], pa.timestamp("s")), "{kind: time}", "2026-01-01T00:00:00Z"),
    "dictionary": (pa.array(["x", "y"]).dictionary_encode(), "{kind: category}", "x"),
    "large string": (pa.array(["x", "y"], pa.large_string()), "{kind: text}", "x"),
    "string view": (pa.array(["x", "y"], pa.string_view()), "{kind: text}", "x"),
    "large ids": (pa.array([2**53 + 1, 2**53 + 2]), "{kind: entity}", "9007199254740993"),
    "list": (pa.array([[1.0, 2.0], [3.0, 4.0]]), "{kind: tensor, shape: [2]}", [1.0, 2.0]),
    "fixed list": (pa.array([[1, 2], [3, 4]], pa.list_(pa.int64(), 2)), "{kind: tensor, shape: [2]}", [1.0, 2.0]),
    "nested list": (pa.array([[[1, 2]], [[3, 4]]]), "{kind: tensor, shape: [1, 2]}", [[1.0, 2.0]]),
    "JSON of lists": (pa.array(["[[1, 2]]", "[[3, 4]]"]), "{kind: tensor, shape: [1, 2]}", [[1.0, 2.0]]),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_the_odd_types_of_parquet_are_read_as_what_they_are(name: str) -> None:
    column, kind, first = ODD[name]
    ids = pa.array([2**53 + 1, 2**53 + 2])
    sink = io.BytesIO()
    pq.write_table(pa.table({"k": ids, "a": column, "y": pa.array([0, 1])}), sink)
    schema = f'{{label: y, id: k, fields: {{a: {kind}, y: {{kind: category, values: ["0", "1"]}}}}}}'
    records, rejects = read({"t.parquet": sink.getvalue()}, schema, "format: parquet")
    assert rejects == []
    assert [one.id for one in records] == ["9007199254740993", "9007199254740994"]
    assert json.loads(records[0].x["example"].tobytes()).get("a") == first  # type: ignore[call-overload]


def test_nested_lists_of_jsonl_are_a_tensor_and_another_shape_is_told() -> None:
    schema = '{label: y, id: k, fields: {a: {kind: tensor, shape: [2, 2]}, y: {kind: category, values: ["0", "1"]}}}'
    cells = [[[1, 2], [3, 4]], [[1, 2], [3]], "x", [[1, 2], [3, None]], None, [1, 2, 3, 4]]
    lines = [json.dumps({"k": n, "a": cell, "y": n % 2}) for n, cell in enumerate(cells)]
    records, rejects = read({"t.jsonl": "\n".join(lines).encode()}, schema, "format: jsonl")
    assert [one.id for one in records] == ["0", "5"]
    assert [(one.where, one.code, one.field) for one in rejects] == [
        ("t.jsonl:2", "bad_shape", "a"), ("t.jsonl:3", "bad_shape", "a"), ("t.jsonl:4", "bad_shape", "a"),
        ("t.jsonl:5", "missing_value", "a"),
    ]  # fmt: skip
    assert rejects[0].reason.endswith("got '[[1, 2], [3]]', expected numbers as nested lists of 2 x 2")
