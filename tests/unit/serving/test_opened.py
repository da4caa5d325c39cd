"""A body of far more lists and objects than a model's examples have is refused before the parser makes them; every
request that can be answered is read, whatever its texts hold."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.feedback import LabelError, labels_of
from mlratchet.models.serving.reading import as_json
from mlratchet.models.serving.reading.as_json import read_json
from mlratchet.models.serving.reading.limits import SHORT_BYTES, most_instances
from mlratchet.models.serving.reading.media import FORM
from mlratchet.models.serving.reading.opened import AROUND, OPENING, SPARE, lists_of, most_opened
from mlratchet.models.serving.reading.outside_texts import outside_texts
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.spec import TensorSpec

from tests.unit.serving.conftest import IMAGE, TABLE
from tests.unit.serving.six_schemas import KINDS, predictor_of
from tests.unit.serving.test_reading import form

WORDS = Signature(
    task="regression",
    classes=(),
    input=InputSpec(
        kind="named",
        shape=(),
        dtype="float32",
        tensors=(
            TensorSpec(name="user", shape=(), dtype="int64"),
            TensorSpec(name="steps", shape=(2,), dtype="float32", ragged=True),
        ),
    ),
)
SHOP, TENSOR = predictor_of("shop").signature, predictor_of("tensor").signature
NESTED = [[0.5] * 2] * 2
MODELS: dict[str, tuple[Signature, Any]] = {
    "table": (TABLE, {"a": 1, "b": 2}),
    "table as lists": (TABLE, [1, 2]),
    "image": (IMAGE, [NESTED]),
    "named": (WORDS, {"user": 1, "steps": [[1, 2], [3, 4]]}),
    "shop": (SHOP, KINDS["shop"].example),
    "tensor": (TENSOR, KINDS["tensor"].example),
}


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each body that the parser is given."""
    given: list[int] = []

    def told(body: bytes) -> Any:
        given.append(len(body))
        return orjson.loads(body)

    monkeypatch.setattr(as_json, "json_of", told)
    return given


@pytest.mark.parametrize("piece", [b"[]", b"{}", b"[[]]", b'{"a":[]}'])
@pytest.mark.parametrize("kind", ["table", "image", "shop", "tensor"])
def test_body_of_lists_is_refused_unparsed(kind: str, piece: bytes, parsed: list[int]) -> None:
    body = b'{"instances":[%s]}' % b",".join([piece] * 1_000_000)
    with pytest.raises(BadRequestError, match=r"lists and objects; expected at most \d+, in \d+ instances") as refused:
        read_json(body, MODELS[kind][0])
    assert (refused.value.field, refused.value.status, parsed) == ("body", 422, [])


def test_part_of_a_form_and_labels_are_bounded_likewise() -> None:
    many = b"[%s]" % b",".join([b"[]"] * 200_000)
    with pytest.raises(BadRequestError, match="lists and objects") as refused:
        parse_request(*_as_request(form(("signal", many, "application/json"))))
    assert refused.value.field == "signal"
    with pytest.raises(LabelError, match="lists and objects"):
        labels_of(b'{"labels":%s}' % many)


def _as_request(told: tuple[bytes, str]) -> tuple[bytes, Signature, None, str]:
    assert told[1].startswith(FORM)
    return told[0], TENSOR, None, told[1]


@pytest.mark.parametrize("kind", MODELS)
def test_request_of_as_many_instances_as_there_may_be_stays_within(kind: str) -> None:
    signature, example = MODELS[kind]
    most = most_instances(signature)
    body = json.dumps({"instances": [example] * most}).encode()
    opened = sum(body.count(one) for one in OPENING)
    assert len(body) > SHORT_BYTES
    assert opened <= most_opened(signature)
    assert len(read_json(body, signature).instances) == most


def test_one_long_row_of_a_ragged_tensor_stays_within() -> None:
    body = json.dumps({"instances": [{"user": 1, "steps": [[0, 0]] * (2 * SPARE)}]}).encode()
    assert len(parse_request(body, WORDS)) == 1


def test_texts_may_hold_as_many_brackets_as_they_like() -> None:
    note = "[{" * 400 + '\\"[' * 100
    example = {**KINDS["shop"].example, "note": note}
    body = json.dumps({"instances": [example] * 200}).encode()
    assert sum(body.count(one) for one in OPENING) > most_opened(SHOP) + SPARE
    assert len(parse_request(body, SHOP)) == 200


def test_request_that_is_only_somewhat_too_large_is_told_by_its_field() -> None:
    body = json.dumps({"instances": [{"a": 1, "b": 2}] * 5000}).encode()
    with pytest.raises(BadRequestError, match=r"instances: got 5000, expected at most 4096"):
        parse_request(body, TABLE)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4)])
def test_lists_of_a_shape_are_those_that_it_is_written_with(shape: tuple[int, ...]) -> None:
    assert lists_of(shape) == json.dumps(np.zeros(shape).tolist()).count("[")
    assert json.dumps({"instances": []}).count("[") + 1 == AROUND


PIECES = st.lists(st.sampled_from(["a", "[", "{", '"', "\\", ":", "é", "\n"]), max_size=12).map("".join)


@given(st.lists(st.one_of(PIECES, st.just([1]), st.dictionaries(PIECES, st.just(1), max_size=3)), max_size=6))
def test_characters_outside_of_texts_are_counted_alike_short_and_long(held: list[Any]) -> None:
    text = json.dumps(held, ensure_ascii=False).encode()
    names = sum(len(one) for one in held if isinstance(one, dict))
    opened = 1 + sum(isinstance(one, list | dict) for one in held)
    for body in (text, text + b" " * (2 * SHORT_BYTES)):
        assert (outside_texts(body, OPENING), outside_texts(body, b":")) == (opened, names)
