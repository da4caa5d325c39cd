"""Numbers of a request are taken as they were sent, or refused with the field: nothing wraps, is cut or overflows."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES, most_instances
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.record import InputSpec

NAMES = ("a", "b", "c")


def table(dtype: Any, **more: Any) -> Signature:
    return Signature(
        task="regression",
        classes=(),
        input=InputSpec(kind="table", shape=(3,), dtype=dtype, columns=NAMES),
        **more,
    )


def tensor(dtype: Any, shape: tuple[int, ...]) -> Signature:
    return Signature(task="regression", classes=(), input=InputSpec(kind="tensor", shape=shape, dtype=dtype))


def parse(value: Any, signature: Signature) -> np.ndarray[Any, Any] | BadRequestError:
    body = value if isinstance(value, bytes) else json.dumps({"instances": [value]}).encode()
    try:
        return parse_request(body, signature).array
    except BadRequestError as refused:
        return refused


@pytest.mark.parametrize(
    ("dtype", "row", "field"),
    [
        ("uint8", [1, 300, 0], "instances[0][1]"),
        ("uint8", [1, 2, -1], "instances[0][2]"),
        ("uint8", [0.9, 1, 2], "instances[0][0]"),
        ("uint8", {"a": 1, "c": 2, "b": 254.99}, "instances[0].b"),
        ("int64", [3, 1.7, 3], "instances[0][1]"),
        ("int64", [1e30, 1, 1], "instances[0][0]"),
        ("int64", [1, 2**63, 1], "instances[0][1]"),
        ("int64", [1, 1, -(2**63) - 1], "instances[0][2]"),
        ("int64", [1, 1, 10**400], "instances[0][2]"),
        ("int64", [1, 2.0**60, 1], "instances[0][1]"),
        ("int64", [1, 9007199254740993.0, 1], "instances[0][1]"),
        ("int64", [-9007199254740993.0, 1, 1], "instances[0][0]"),
        ("float32", [1, 1e39, 1], "instances[0][1]"),
        ("float32", [1, 1, True], "instances[0][2]"),
        ("float32", {"a": 1, "b": None, "c": 1}, "instances[0].b"),
        ("float32", [1, float("nan"), 1], "instances[0][1]"),
        ("float32", {"a": 1, "b": 2, "c": float("inf")}, "instances[0].c"),
    ],
)
def test_what_the_input_cannot_hold_is_refused_with_its_field(dtype: str, row: Any, field: str) -> None:
    refused = parse(row, table(dtype))
    assert isinstance(refused, BadRequestError)
    assert (refused.status, refused.field) == (422, field)


def test_whole_numbers_arrive_exactly() -> None:
    for row in ([2**53 + 1, 2**62 + 1, 3], [2**53, 2.0**53 - 1, 3], [-(2**63), 2**63 - 1, 3.0]):
        rows = parse(row, table("int64"))
        assert not isinstance(rows, BadRequestError)
        assert rows.tolist() == [row]
        assert rows.dtype == np.int64


VALUES = st.one_of(
    st.integers(),
    st.integers(-(2**65), 2**65),
    st.integers(-2, 258),
    st.floats(),
    st.floats(-2, 258).map(round).map(float),
    st.none(),
    st.booleans(),
    st.text(max_size=2),
    st.lists(st.integers(), max_size=2),
)


@given(
    dtype=st.sampled_from(["uint8", "int64", "float32"]),
    row=st.lists(VALUES, min_size=2, max_size=4),
    named=st.booleans(),
)
def test_a_row_is_taken_exactly_or_refused(dtype: str, row: list[Any], named: bool) -> None:
    value = dict(zip(NAMES, row, strict=False)) if named else row
    rows = parse(value, table(dtype))
    sent = [value.get(name) for name in NAMES] if isinstance(value, dict) else row
    fits = len(sent) == 3 and all(type(one) in (int, float) and math.isfinite(one) for one in sent)
    if isinstance(rows, BadRequestError):
        assert (rows.status, rows.field.startswith("instances[0]")) == (422, True)
        if fits and dtype == "float32":
            assert any(abs(one) > 3.4e38 for one in sent)
        elif fits:
            bounds = np.iinfo(dtype)
            beyond = [one for one in sent if not bounds.min <= one <= bounds.max]
            assert beyond or any(isinstance(one, float) and (one % 1 or abs(one) >= 2**53) for one in sent)
        return
    assert fits
    if dtype == "float32":
        assert rows.tolist() == [[float(np.float32(float(one))) for one in sent]]
    else:
        assert rows.tolist() == [[int(one) for one in sent]]


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True))
def test_a_json_number_of_any_size_is_a_value_or_a_field(text: str) -> None:
    for signature in (table("float32"), table("int64"), table("uint8")):
        rows = parse(b'{"instances": [[1, %s, 1]]}' % text.encode(), signature)
        if isinstance(rows, BadRequestError):
            assert rows.field == "instances[0][1]"
        else:
            assert np.isfinite(rows.astype(np.float64)).all()


def test_columns_have_ranges_where_they_are_declared() -> None:
    signature = Signature.from_json(table("float32", ranges=(("b", 0.0, 10.0),)).to_json())
    assert not isinstance(parse([99, 10, -99], signature), BadRequestError)
    for row, field in (([1, 10.5, 1], "instances[0][1]"), ({"a": 1, "b": -1, "c": 1}, "instances[0].b")):
        refused = parse(row, signature)
        assert isinstance(refused, BadRequestError)
        assert (refused.field, "expected 0 to 10" in refused.message) == (field, True)


def test_lists_deeper_or_flatter_than_the_input_are_refused_where_they_differ() -> None:
    signature = tensor("int64", (2, 2))
    for value, field in (
        ([[1, 2], 3], "instances[0][1]"),
        ([[1, [2]], [3, 4]], "instances[0][0][1]"),
        ([[1, 2], [3, 4], [5, 6]], "instances[0]"),
        ("text", "instances[0]"),
    ):
        refused = parse(value, signature)
        assert isinstance(refused, BadRequestError)
        assert refused.field == field


def test_what_a_request_unfolds_to_is_bounded() -> None:
    wide = tensor("float32", (3, 1000, 1000))
    assert most_instances(wide) == MAX_ROW_BYTES // 12_000_000 == 5
    assert most_instances(table("uint8")) == 4096
    refused = parse(json.dumps({"instances": [0] * 6}).encode(), wide)
    assert isinstance(refused, BadRequestError)
    assert (refused.status, refused.field) == (422, "instances")
