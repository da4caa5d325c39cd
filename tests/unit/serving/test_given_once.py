"""A field that an object of a request has twice is named, whatever its texts hold; a request that has none is taken."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.serving.feedback import LabelError, labels_of
from mlratchet.models.serving.reading import given_once
from mlratchet.models.serving.reading.as_json import json_of
from mlratchet.models.serving.reading.given_once import MOST_NAMED, check_given_once
from mlratchet.models.serving.reading.limits import WORDS
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.names_once import NameTwiceError, names_once

from tests.unit.serving.conftest import TABLE
from tests.unit.serving.six_schemas import KINDS, predictor_of

COLUMNS = dict.fromkeys(TABLE.input.columns, 0.5)
TEXTS = st.sampled_from(["a", "b", ":", 'a":', "\\", "a:b", "ä", "\n", ""])


def checked(body: bytes) -> None:
    check_given_once(body, orjson.loads(body), "instances")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"instances": [{"a": 1, "a": 2}]}', "instances[0].a"),
        (b'{"instances": [{"b": 1}, {"a": ":", "b": 1, "a": ":"}]}', "instances[1].a"),
        (b'{"a": 1, "b": "x:y", "a": 2}', "a"),
        (b'{"a": 1, "\\u0061": 2}', "a"),  # the same name, written otherwise
        (b'{"a":1,"a":"\\u003a"}', "a"),  # a colon that no byte shows stands for the one of the field
        (b'{"instances": [{"a": 1}], "instances": [{"a": 2}]}', "instances"),
        (b'{"instances": [{"a": [{"b": 1, "b": 2}]}]}', "instances[0].a[0].b"),
        (b'[[{"b": 1}, {"b": 1, "b": 2}]]', "[0][1].b"),
    ],
)
def test_field_that_is_given_twice_is_named(body: bytes, field: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        checked(body)
    assert (refused.value.field, refused.value.status) == (field, 422)


@st.composite
def written(draw: st.DrawFn, depth: int = 2) -> str:
    """An object or list as a client may write it, names once or twice."""
    value = st.one_of(
        TEXTS.map(json.dumps), TEXTS.map(lambda one: json.dumps(one).replace(":", "\\u003a")), st.just("7")
    )
    value = st.one_of(value, written(depth=depth - 1)) if depth else value
    pairs = draw(st.lists(st.tuples(TEXTS.map(json.dumps), value), max_size=4))
    blank = draw(st.sampled_from(["", " "]))
    if draw(st.booleans()):
        return "[" + ",".join(one for _, one in pairs) + "]"
    return "{" + ",".join(f"{name}{blank}:{blank}{one}" for name, one in pairs) + "}"


@given(
    text=st.one_of(written(), st.lists(written(), max_size=3).map(lambda many: f'{{"instances":[{",".join(many)}]}}'))
)
def test_it_is_refused_exactly_where_a_name_is_there_twice(text: str) -> None:
    try:
        json.loads(text, object_pairs_hook=names_once)
    except NameTwiceError:
        with pytest.raises(BadRequestError):
            checked(text.encode())
    else:
        checked(text.encode())


def test_usual_request_is_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_once, "_given_twice", lambda body: pytest.fail(f"read again: {body!r}"))
    checked(orjson.dumps({"instances": [{"a": 0.5, "time": "2026-11-27T20:00:00Z", "note": "a:b"}, {"a": 1.0}]}))
    checked(orjson.dumps({"a": 0.5, "time": "2026-11-27T20:00:00Z"}))


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """As Python begins: what compiles, as another test may have, lets calls lie deeper in one another from then on."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("usual_depth")
def test_body_that_lies_too_deep_to_be_read_again_is_refused() -> None:
    deep = b"[" * 1000 + b"]" * 1000
    checked(b'{"a:b": "\\\\", "x": ' + deep + b"}")  # which needs no reading
    with pytest.raises(BadRequestError, match="too deep"):
        checked(b'{"a": 1, "a": 2, "x": ' + deep + b"}")


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "\\\\\\":", "b": 1}',
        b'{"instances": [{"a": {"b": {"c": 1}}, "d": ":\\"\\\\"}]}',
        b'["\\\\", {"a:": ["\\":"]}]',
    ],
)
def test_neither_escapes_nor_objects_in_objects_have_a_body_read_again(
    body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_once, "_given_twice", lambda body: pytest.fail(f"read again: {body!r}"))
    checked(body)


def test_long_body_is_not_read_again_while_everybody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(given_once, "_given_twice", lambda body: pytest.fail(f"read again: {len(body)}"))
    with pytest.raises(BadRequestError, match="a field is given twice") as refused:
        checked(b'{"a": 1, "a": 2, "x": "' + b"x" * MOST_NAMED + b'"}')
    assert (refused.value.field, refused.value.status) == ("body", 422)


@pytest.mark.parametrize("depth", [100, 490, 600, 900])
def test_field_is_named_however_deep_it_lies(depth: int) -> None:
    with pytest.raises(BadRequestError) as refused:
        checked(b"[" * depth + b'{"a": 1, "a": 2}' + b"]" * depth)
    assert refused.value.field.startswith("[0][0][0]")


@pytest.mark.timeout(60)  # four minutes were not enough, of which every second stopped all who ask
@pytest.mark.parametrize("last", [b'{"a": 1, "a": 2}', b"1e999"])
def test_long_names_and_lists_cost_what_they_are_long(last: bytes) -> None:
    many = 300_000
    body = b'{"' + b"k" * many + b'": [' + b"0," * many + last + b"]}"
    with pytest.raises(BadRequestError) as refused:
        json_of(body)
    assert refused.value.field.startswith("kkk")
    assert len(refused.value.field) <= WORDS


@pytest.mark.parametrize("kind", ["shop", "columns"])
def test_request_to_a_model_names_the_field(kind: str) -> None:
    example = KINDS["shop"].example if kind == "shop" else COLUMNS
    signature = predictor_of("shop").signature if kind == "shop" else TABLE
    name = next(iter(example))
    twice = orjson.dumps(example)[:-1] + b"," + orjson.dumps({name: example[name]})[1:]
    with pytest.raises(BadRequestError) as alone:
        parse_request(twice, signature)
    with pytest.raises(BadRequestError) as listed:
        parse_request(b'{"instances":[%b]}' % twice, signature)
    assert (alone.value.field, listed.value.field) == (name, f"instances[0].{name}")


def test_label_with_a_field_twice_is_refused() -> None:
    one = b'{"request_id": "%s", "label": "yes", "label": "no"}' % (b"0" * 32)
    for body, field in ((one, "label"), (b'{"labels": [%b]}' % one, "labels[0].label")):
        with pytest.raises(LabelError, match="given twice") as refused:
            labels_of(body)
        assert refused.value.field == field
