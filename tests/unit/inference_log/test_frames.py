"""What a server tells is what the log holds: through frames, typed by the schema, by the allow-list."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import (
    HEAD,
    NotAFrameError,
    answers_frame,
    blocks_of,
    kept,
    pack,
    packed,
    unpack,
)
from mlratchet.models.inference_log.projection import projected
from mlratchet.models.inference_log.rows import LogPlan, LogRows, rows_of
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.serving.observing import Answered
from mlratchet.models.serving.reading.as_json import read_json
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs, Ragged

SCHEMA = Schema(
    fields={
        "speed": Field(kind="number"),
        "line": Field(kind="category", nullable=True),
        "at": Field(kind="time", format="%d.%m.%Y %H:%M", nullable=True),
        "photo": Field(kind="image", nullable=True),
        "grid": Field(kind="tensor", shape=(2,), nullable=True),
    }
)


def answered(number: int = 0, count: int = 1, **changes: Any) -> Answered:
    """An answer of version 1 with `count` instances."""
    one = Answered(
        request_id=f"r{number}", received_s=1000.0 + number, latency_ms=1.5, pipeline="plant", version=1, generation=2,
        variant="champion", status=200, error="", client_key="c1", replayed=False,
        instances=[{"speed": float(row), "line": "a"} for row in range(count)],
        rows=Inputs({"x": np.arange(count * 3, dtype=np.float32).reshape(count, 3)}),
        output=np.asarray([[0.0, float(row)] for row in range(count)], np.float32),
        predictions=[{"class": "yes", "probabilities": {"no": 0.25, "yes": 0.75}}] * count,
    )  # fmt: skip
    return replace(one, **changes)


def through(*answers: Answered, schema: Schema | None = SCHEMA, **config: Any) -> list[LogRows]:
    frame = b"".join(answers_frame("plant", len(answers), packed([*map(kept, answers)])))
    size, text_bytes = HEAD.unpack_from(frame)
    assert size == len(frame) - HEAD.size
    said, numbers = unpack(frame[HEAD.size :], text_bytes)
    plan = LogPlan(schema=schema, config=LogConfig(**config), secret=b"s")
    return [rows_of(block, plan) for block in blocks_of(said, numbers)]


def test_a_row_per_instance_with_all_that_is_known() -> None:
    (found,) = through(answered(0, count=2), answered(1))

    first, second, third = found.table.to_pylist()
    assert (first["request_id"], second["request_id"], third["request_id"]) == ("r0", "r0", "r1")
    assert (first["row"], second["row"], third["row"]) == (0, 1, 0)
    assert second["output"] == [0.0, 1.0]
    assert second["prepared"] == [3.0, 4.0, 5.0]
    assert second["confidence"] == 0.75
    assert second["answer"] == '{"class":"yes","probabilities":{"no":0.25,"yes":0.75}}'
    assert (second["field.speed"], second["field.line"], second["field.at"]) == (1.0, "a", None)
    assert (first["received_s"], first["client_key"], first["error"]) == (1000.0, "c1", None)


def test_versions_of_one_frame_are_apart() -> None:
    found = through(answered(0), answered(1, version=2), answered(2))

    assert [one.table["request_id"].to_pylist() for one in found] == [["r0", "r2"], ["r1"]]


def test_what_was_refused_is_logged_without_what_the_client_sent() -> None:
    refused = answered(status=422, error="instances[0].speed: got text", rows=None, output=None, predictions=None)
    (found,) = through(replace(refused, instances=[{"speed": "my secret"}]))

    (row,) = found.table.to_pylist()
    assert (row["status"], row["error"]) == (422, "instances[0].speed: got text")
    assert "secret" not in str(row)


def test_what_a_client_sent_is_not_told_by_an_error_where_not_all_fields_are_listed() -> None:
    refused = answered(status=422, error="instances[0].line: got 'Alice', expected one of a, b", rows=None)

    (found,) = through(refused, fields=["speed"])

    assert found.table["error"].to_pylist() == ["instances[0].line"]


def test_before_anything_is_loaded_the_version_is_none() -> None:
    nothing = answered(status=503, error="no champion", version=None, generation=None, variant=None, rows=None)
    (found,) = through(nothing)

    assert found.table["version"].to_pylist() == [0]


def test_only_listed_fields_are_whole_and_others_are_dropped() -> None:
    (found,) = through(answered(), fields=["speed"])

    assert [name for name in found.table.column_names if name.startswith("field.")] == ["field.speed"]


def test_others_can_be_hashed_by_a_key() -> None:
    (found,) = through(answered(count=2), fields=["speed"], others="hash")

    hashes = found.table["field.line"].to_pylist()
    assert len(set(hashes)) == 1
    assert hashes[0] != hashlib.sha256(b'"a"').hexdigest()[:32]
    assert found.table["field.at"].to_pylist() == [None, None]


def test_times_are_read_as_declared_and_as_iso() -> None:
    (found,) = through(
        answered(instances=[{"speed": 1, "at": "03.04.2026 10:00"}]),
        answered(1, instances=[{"speed": 1, "at": "2026-04-03T10:00:00Z"}]),
    )

    first, second = found.table["field.at"].to_pylist()
    assert first == second
    assert (first.day, first.month) == (3, 4)


@pytest.mark.parametrize("sample", [0.0, 1.0])
def test_pictures_are_logged_by_digest_and_stored_by_sample(sample: float) -> None:
    photo = b"some picture"
    (found,) = through(
        answered(instances=[{"speed": 1, "photo": base64.b64encode(photo).decode(), "grid": [1, 2]}]), sample=sample
    )

    digest = hashlib.sha256(photo).hexdigest()
    assert found.table["field.photo"].to_pylist() == [digest]
    assert found.media == ({digest: photo} if sample else {})
    assert found.table["field.grid"].to_pylist() == [hashlib.sha256(b"[1,2]").hexdigest()]


def test_a_pipeline_without_a_schema_logs_no_field() -> None:
    (found,) = through(answered(instances=[[1, 2, 3]]), schema=None)

    assert not [name for name in found.table.column_names if name.startswith("field.")]
    assert found.table["prepared"].to_pylist() == [[0.0, 1.0, 2.0]]


@pytest.mark.parametrize(
    "frame", [b"[]", b"{", b'{"k": 3}', b'{"k":"answers","blocks":[{"answers":[[1]]}]}', b'{"k":"answers"}']
)
def test_what_no_server_sends_is_refused(frame: bytes) -> None:
    with pytest.raises(NotAFrameError):
        list(blocks_of(*unpack(frame, len(frame))))


def test_numbers_of_another_shape_than_said_are_refused() -> None:
    frame = b"".join(pack({"k": "answers", "blocks": [{"answers": [], "prepared": [5, 1000]}]}))
    with pytest.raises(NotAFrameError):
        list(blocks_of(*unpack(frame[HEAD.size :], HEAD.unpack_from(frame)[1])))


def test_a_large_input_is_sketched_into_64_numbers_that_keep_its_length() -> None:
    drawn = np.random.default_rng(0).normal(size=(50, 3, 16, 16)).astype(np.float32)

    found = projected(Inputs({"x": drawn}))

    assert found.shape == (50, 64)
    assert (found**2).sum() == pytest.approx((drawn**2).sum(), rel=0.05)
    assert np.array_equal(found[7:9], projected(Inputs({"x": drawn[7:9]})))


def test_words_count_wherever_they_stand() -> None:
    def of(*rows: list[int]) -> Any:
        ends = np.cumsum([0, *map(len, rows)]).astype(np.int64)
        return projected(Inputs({"words": Ragged(np.asarray([*chain.from_iterable(rows)], np.int64), ends)}))

    one, other, longer, empty = of([1, 2, 900], [900, 1, 2], [1, 1, 2, 2, 900, 900], [])
    assert np.allclose(one, other)
    assert np.allclose(one, longer)
    assert not empty.any()


@pytest.mark.parametrize("kind", ["int64", "float32"])
@pytest.mark.parametrize("shape", [(), (2,)])
def test_of_empty_texts_and_sounds_alone_nothing_counts(kind: str, shape: tuple[int, ...]) -> None:
    empty = Ragged(np.zeros((0, *shape), kind), np.zeros(3, np.int64))
    assert np.array_equal(projected(Inputs({"x": empty})), np.zeros((2, 64), np.float32))


def test_nobodys_numbers_blank_those_of_the_next_in_a_batch() -> None:
    def of(*rows: list[float]) -> np.ndarray[Any, Any]:
        ends = np.cumsum([0, *map(len, rows)])
        return projected(Inputs({"x": Ragged(np.asarray([*chain.from_iterable(rows)], np.float32), ends)}))

    alone = of([2.0, 4.0])
    assert alone.any()
    assert np.array_equal(of([1e20], [], [2.0, 4.0], [1e30], [])[2:3], alone)
    assert not of([1e20], [])[1].any()


@pytest.mark.parametrize("form", ['{"instances": %s}', " %s\n"])
def test_what_is_json_already_is_told_as_it_was_written(form: str) -> None:
    plain = answered(0, count=2)
    written = (form % orjson.dumps(plain.instances).decode()).encode()
    said = orjson.dumps({"predictions": plain.predictions, "version": 1})
    other = replace(plain, instances=[{"speed": -1.0}] * 2, predictions=[{}] * 2, written=written, said=said)

    assert through(other)[0].table.equals(through(plain)[0].table)


def test_whole_numbers_that_no_float_holds_exactly_are_logged_as_the_model_reads_them() -> None:
    (found,) = through(answered(instances=[{"speed": 2**53 + 1}]), answered(1, instances=[{"speed": 3}]))

    assert found.table["field.speed"].to_pylist() == [float(2**53), 3.0]
    assert found.table["error"].to_pylist() == [None, None]


SPEEDS = Signature(
    task="regression", classes=(), input=InputSpec(kind="table", shape=(1,), dtype="float32", columns=("speed",))
)


@pytest.mark.parametrize("form", [b'{"instances": %b, "instances": [{"speed": 7}]}', b'{"speed": %b, "speed": 7}'])
@pytest.mark.parametrize("depth", [1, 1020])
def test_what_a_key_that_comes_twice_hides_reaches_no_frame(form: bytes, depth: int) -> None:
    with pytest.raises(BadRequestError, match=r"is given twice|too deep"):
        read_json(form % (b"[" * depth + b"]" * depth), SPEEDS)


def test_what_may_be_too_deep_for_a_frame_is_not_told_as_it_was_written() -> None:
    content = read_json(b'{"instances": [{"speed": "%b"}]}' % (b"[" * 1020), SPEEDS)

    (found,) = through(answered(0, instances=content.instances, written=content.written), answered(1))

    assert content.written is None
    assert found.table["request_id"].to_pylist() == ["r0", "r1"]
