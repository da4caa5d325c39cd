"""What a server offers to the log of a pipeline is what the writer hears, however it was packed on the way."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.inference_log.pipeline_log import AT_ONCE, SMALL_BYTES, PipelineLog
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.inference_log.writer import LogWriter
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import HEAD, Frame, answers_frame, kept, packed, unpack
from mlratchet.models.serving.observing import Answered
from mlratchet.models.tensors.named import Inputs, Ragged

from tests.unit.inference_log.test_frames import SCHEMA, answered

LONG = 60.0  # seconds, of a thread that has ended long before


def a_log(**config: Any) -> PipelineLog:
    return PipelineLog("plant", LogConfig(**config), lambda _: SCHEMA.model_dump_json(), threading.Event(), read_s=30.0)


class Heard:
    """A writer, and what it made of the frames that it was sent."""

    def __init__(self, folder: Path) -> None:
        self.writer = LogWriter(LogSpool(folder / "s", most_bytes=50_000_000), lambda pipeline, holds: {}, secret=b"s")
        self.frames = 0

    def take(self, frame: Frame) -> None:
        held = b"".join(frame)
        self.writer.hear("s1", *unpack(held[HEAD.size :], HEAD.unpack_from(held)[1]), 0.0)

    def all_of(self, log: PipelineLog) -> None:
        """Everything that waits there."""
        while waiting := log.waiting(log.newest):
            for one in waiting:
                for version in one.versions:
                    self.take(log.plan(version))
                self.take(one.frame)
                log.freed(one.size)
                self.frames += 1

    @property
    def buffer(self) -> Any:
        return self.writer._buffer("plant", "answers")

    def rows(self) -> list[dict[str, Any]]:
        """By request, as rows of one stand together and those of one version come together."""
        rows = [row for table in self.buffer.tables for row in table.to_pylist()]
        return sorted(rows, key=lambda row: (int(row["request_id"][1:]), row["row"]))


REFUSED: dict[str, Any] = {"rows": None, "output": None, "predictions": None}


def drawn(number: int, rng: random.Random) -> Answered:
    """An answer of a version (the third takes words, the fourth has more outputs than are kept), or a refusal."""
    version = rng.randrange(5)
    if not version:
        return answered(number, status=503, error="no champion", version=None, generation=None, variant=None, **REFUSED)
    if rng.random() < 0.2:
        return answered(number, version=version, status=422, error="x" * rng.randrange(400), **REFUSED)
    count = rng.randint(1, 3)
    one = answered(number, count, version=version, client_key=rng.choice([None, "", "c\u00e9"]))
    if rng.random() < 0.5:
        one.written = orjson.dumps({"instances": one.instances})
        one.said = orjson.dumps({"predictions": one.predictions, "version": version})
    if version == 3:
        ends = np.cumsum([0, *(rng.randrange(5) for _ in range(count))]).astype(np.int64)
        one.rows = Inputs({"x": Ragged(np.arange(ends[-1], dtype=np.int64), ends)})
    if version == 4:
        one.output = np.full((count, 5000), 0.5, np.float32)
    return one


@pytest.mark.parametrize("seed", range(8))
def test_what_the_log_holds_of_requests_does_not_depend_on_how_they_were_packed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    made = [drawn(number, rng) for number in range(rng.choice([1, 3, 40, 70]))]
    looks = {rng.randrange(len(made)) for _ in range(rng.randrange(4))}
    whole, parts, log = Heard(tmp_path / "whole"), Heard(tmp_path / "parts"), a_log()

    for version in range(5):
        whole.take(log.plan(version))
    whole.take(answers_frame("plant", len(made), packed([*map(kept, made)])))
    for number, one in enumerate(made):
        if number in looks:
            parts.all_of(log)
        assert log.offer(one)
    parts.all_of(log)

    assert parts.rows() == whole.rows()
    assert len(parts.rows()) >= len(made)
    assert (log.is_empty, log.facts()["waiting"], parts.buffer.dropped) == (True, 0, 0)


def spoken(log: PipelineLog) -> bytes:
    return b"".join(b"".join(one.frame) for one in log.waiting(log.newest))


def test_what_was_asked_is_not_sent_where_no_field_is_logged_and_the_rows_are_the_same(tmp_path: Path) -> None:
    heard = {side: Heard(tmp_path / side) for side in ("told", "untold")}
    made = answered(1, instances=[{"speed": 123.25, "line": "north"}])
    for side, hearer in heard.items():
        log = a_log(fields=())
        if side == "told":
            log.plan(1)
        assert log.offer(made)
        assert (b"north" in spoken(log)) == (side == "untold")
        log.offer(made)
        hearer.all_of(log)
    assert heard["told"].rows() == heard["untold"].rows()
    assert len(heard["told"].rows()) == 1

    log.change(LogConfig(fields=("line",)), lambda _: SCHEMA.model_dump_json(), read_s=30.0)
    log.offer(made)
    assert b"north" in spoken(log), "before the plan is made anew"
    log.plan(1)
    log.offer(made)
    assert b"north" in spoken(log)


@pytest.mark.parametrize(
    ("schema", "config", "sent"),
    [(None, {}, False), (SCHEMA.model_dump_json(), {}, True),
     (SCHEMA.model_dump_json(), {"fields": (), "others": "hash"}, True)],
)  # fmt: skip
def test_what_was_asked_is_sent_where_a_field_or_its_hash_is_logged(
    schema: str | None, config: dict[str, Any], sent: bool
) -> None:
    log = PipelineLog("plant", LogConfig(**config), lambda _: schema, threading.Event(), read_s=30.0)
    log.plan(1)
    log.offer(answered(1, instances=[{"speed": 1.0, "line": "north"}]))

    assert (b"north" in spoken(log)) == sent


def test_all_that_waits_goes_in_few_frames_and_their_room_is_free_again(tmp_path: Path) -> None:
    heard, log = Heard(tmp_path), a_log()
    for number in range(1000):
        assert log.offer(answered(number))
    heard.all_of(log)

    assert heard.frames == 2, "what was packed, and the rest"
    assert [row["request_id"] for row in heard.rows()] == [f"r{number}" for number in range(1000)]
    assert (log._bytes, log._open_bytes, log._waiting) == (0, 0, 0)


def test_what_is_dropped_between_packed_answers_is_counted_exactly(tmp_path: Path) -> None:
    heard, log = Heard(tmp_path), a_log()
    large = [{"speed": 1.0, "line": "x" * 70_000_000}]
    taken = [
        log.offer(answered(number, instances=large) if number % 7 == 3 else answered(number)) for number in range(100)
    ]
    heard.all_of(log)

    assert taken == [number % 7 != 3 for number in range(100)]
    assert (log.dropped, heard.buffer.dropped) == (14, 14)
    assert len(heard.rows()) == 86


def test_large_answers_are_packed_by_who_sends_and_in_their_order(tmp_path: Path) -> None:
    heard, log = Heard(tmp_path), a_log()
    large = [{"speed": 1.0, "line": "x" * SMALL_BYTES}]
    for number in range(AT_ONCE * 3):
        assert log.offer(answered(number, instances=large if number == AT_ONCE + 1 else [{"speed": 1.0}]))
        assert len(log._packed) == (1 if number >= AT_ONCE - 1 else 0)
    heard.all_of(log)

    assert [row["request_id"] for row in heard.rows()] == [f"r{number}" for number in range(AT_ONCE * 3)]
    assert heard.buffer.dropped == 0


def test_threads_that_offer_while_another_sends_lose_nothing_and_count_what_found_no_room(tmp_path: Path) -> None:
    heard, log = Heard(tmp_path), a_log()
    taken: list[int] = []

    def offer(first: int) -> None:
        taken.extend(number for number in range(first, 3000, 3) if log.offer(answered(number)))

    threads = [threading.Thread(target=offer, args=(first,)) for first in range(3)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        heard.all_of(log)
    for one in threads:
        one.join(LONG)
    heard.all_of(log)

    assert [row["request_id"] for row in heard.rows()] == [f"r{number}" for number in sorted(taken)]
    assert (len(taken), log.dropped, heard.buffer.dropped) == (3000, 0, 0)


@pytest.mark.parametrize("odd", [{"error": None}, {"rows": Inputs({"x": np.zeros((1, 2), "U3")})}])
def test_an_answer_that_nothing_can_be_told_of_is_a_gap_beside_those_it_is_packed_with(
    tmp_path: Path, odd: dict[str, Any]
) -> None:
    heard, log = Heard(tmp_path), a_log()
    for number in range(AT_ONCE + 1):
        log.offer(answered(number, **odd) if number == 5 else answered(number))
    assert log._packed, "by who offers, who is not to hear of it"
    heard.all_of(log)

    assert [row["request_id"] for row in heard.rows()] == [f"r{number}" for number in range(AT_ONCE + 1) if number != 5]
    assert heard.buffer.dropped == 1


def test_who_sends_leaves_what_is_answered_meanwhile_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = LogClient(tmp_path)
    log = client.take_up("plant", LogConfig(), lambda _: None, read_s=30.0)
    frames: list[Frame] = []

    def sent(frame: Frame, descriptor: int | None = None) -> bool:
        assert len(frames) < 100, "it never ends"
        if b'"answers"' in bytes(frame[0])[:60]:
            frames.append(frame)
            log.offer(answered(1000 + len(frames)))
        return True

    monkeypatch.setattr(client, "_is_connected", lambda: True)
    monkeypatch.setattr(client, "_sent", sent)
    log.offer(answered(1))
    client._send_waiting()

    assert len(frames) == 1
    assert log.facts()["waiting"] == 1
    client._send_waiting()
    assert len(frames) == 2
