"""A body that is no JSON is refused at the cost of parsing it, and a number that no float holds is named."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlratchet.models.serving.reading.as_json import json_of
from mlratchet.models.serving.reading.places import place_of, walked
from mlratchet.models.serving.refusal import BadRequestError

TEXTS = st.sampled_from(["a", "b", '"', "\\", '\\"', "[", "}", ":", "ä", "NaN", ""])
ODD = st.sampled_from(["NaN", "Infinity", "-Infinity", "1e400", "-1e999", "1" + "0" * 400])


def refused(text: str) -> BadRequestError:
    with pytest.raises(BadRequestError) as found:
        json_of(text.encode())
    return found.value


@st.composite
def written(draw: st.DrawFn, depth: int = 3) -> str:
    """JSON in which numbers may stand that are not finite; no object has a name twice."""
    plain = st.one_of(TEXTS.map(json.dumps), st.sampled_from(["7", "-0.5e3", "null", "true"]))
    if not depth:
        return draw(st.one_of(plain, plain, ODD))
    inner = draw(st.lists(written(depth=depth - 1), max_size=3))
    if draw(st.booleans()):
        return "[" + ", ".join(inner) + "]"
    names = draw(st.lists(TEXTS, min_size=len(inner), max_size=len(inner), unique=True))
    return "{" + ",".join(f"{json.dumps(name)}: {one}" for name, one in zip(names, inner, strict=True)) + "}"


def first_odd(document: Any) -> str | None:
    """As a person finds it, reading from the beginning."""
    for way, value in walked(document):
        if isinstance(value, float) and not math.isfinite(value):
            return place_of(way) or "body"
    return None


@given(written())
@settings(max_examples=60)
def test_first_number_that_is_not_finite_is_named_by_its_place(text: str) -> None:
    place = first_odd(json.loads(text, parse_int=float))
    if place is None:
        json_of(text.encode())
    else:
        error = refused(text)
        assert (error.field, error.status) == (place, 422)
        assert "expected a finite number" in error.message


@settings(max_examples=40)
@given(written(), st.sampled_from(["", "}", ",", " x", '"']))
def test_what_is_no_json_beside_an_odd_number_is_refused_as_such(text: str, end: str) -> None:
    """Of several odd numbers the first is named, whatever stands behind the second."""
    odd = sum(isinstance(one, float) and not math.isfinite(one) for _, one in walked(json.loads(text, parse_int=float)))
    assert refused(f"[{text}, 1{end}").status in ((400,) if odd < 2 else (400, 422))


@pytest.mark.parametrize(
    ("text", "status", "field"),
    [
        ('{"instances": [[1, NaN, 2], [NaN]]}', 422, "instances[0][1]"),
        ('{"instances": [[1, NaN, 2], [x]]}', 400, "body"),
        ("NaN", 422, "body"),
        ("[-", 400, "body"),
        ("[1e5e]", 400, "body"),
        ("[NaNx]", 400, "body"),
    ],
)
def test_what_else_is_wrong_is_told_first(text: str, status: int, field: str) -> None:
    assert (refused(text).status, refused(text).field) == (status, field)


@pytest.mark.parametrize("body", [b"[1]," * 1000, b"[1, " * 3000, b"1," * 1000 + b"NaN]", b"1," * 1000 + b"1e999]"])
def test_python_reads_no_body_again_in_which_everybody_would_wait(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "loads", lambda *_, **__: pytest.fail("Python's parser was asked"))
    with pytest.raises(BadRequestError):
        json_of(b'{"instances": [' + body)
