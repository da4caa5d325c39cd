"""Answers of one forward are told at once, and the log holds of each what it holds of one that is told by itself."""

from __future__ import annotations

import random
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from mlratchet.infra.inference_log.pipeline_log import MANY, MOST_ANSWERS, OF_ALL
from mlratchet.infra.inference_log.socket import MOST_PARTS, send_whole
from mlratchet.models.inference_log.frames import HEAD, NotAFrameError, answers_frame, blocks_of, pack, unpack
from mlratchet.models.inference_log.joined import PackedTogether, joined
from mlratchet.models.serving.observing import AnsweredTogether
from mlratchet.models.tensors.named import Inputs, Ragged

from tests.unit.inference_log.test_frames import answered
from tests.unit.inference_log.test_pipeline_log import LONG, Heard, a_log

KEYS = (None, "", "me", "zo\u00eb", "\u4f60\u597d", 'a"b\\')


def together(first: int, counts: list[int], rng: random.Random, **changes: Any) -> AnsweredTogether:
    """Answers of so many rows each, numbered from `first`."""
    version, total = changes.get("version", 1), sum(counts)
    lines = ["north", "s\u00fcd", "\u4f60", '"q"', None]
    instances = [[{"speed": rng.random(), "line": rng.choice(lines)} for _ in range(count)] for count in counts]
    predictions: list[list[dict[str, Any]]] = [
        [{"class": "yes", "probability": p, "probabilities": {"no": 1 - p, "y\u00e9s": p}} for p in drawn]
        for drawn in ([rng.random() for _ in range(count)] for count in counts)
    ]
    forms = ('{"instances": %s}', " %s\n")
    made = AnsweredTogether(
        pipeline="plant", version=version, generation=2, variant="champion",
        rows=Inputs({"x": np.asarray([rng.random() for _ in range(3 * total)], np.float32).reshape(total, 3)}),
        output=np.asarray([rng.random() for _ in range(2 * total)], np.float32).reshape(total, 2), counts=counts,
        request_ids=[f"r{first + at}" for at in range(len(counts))],
        received_s=[1000.0 + rng.random() for _ in counts], latency_ms=[rng.random() for _ in counts],
        client_keys=rng.choice([None, [rng.choice(KEYS) for _ in counts]]),
        replayed=[rng.random() < 0.1 for _ in counts], instances=instances, predictions=predictions,
        written=[(rng.choice(forms) % orjson.dumps(one).decode()).encode() for one in instances],
        said=[orjson.dumps({"predictions": one, "version": version}) for one in predictions],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def ragged(total: int) -> Inputs:
    ends = np.cumsum([0, *(at % 4 for at in range(total))]).astype(np.int64)
    return Inputs({"x": Ragged(np.arange(ends[-1], dtype=np.int64), ends)})


def drawn(first: int, rng: random.Random) -> AnsweredTogether:
    """Of requests of one row, or of several; the third version takes words, the fourth has more outputs than are
    kept, and the fifth says numbers."""
    counts = [1 if rng.random() < 0.7 else rng.randint(1, 3) for _ in range(rng.choice([1, 2, 9]))]
    counts = [1] * len(counts) if rng.random() < 0.5 else counts
    version, total = rng.randrange(1, 6), sum(counts)
    changes: dict[str, Any] = {"version": version}
    if version == 3:
        changes["rows"] = ragged(total)
    if version == 4:
        changes["output"] = np.full((total, 5000), 0.5, np.float32)
    if version == 5:
        said: list[list[dict[str, Any]]] = [[{"value": rng.random()}] * count for count in counts]
        changes |= {"predictions": said, "output": np.arange(total, dtype=np.float32)}
        changes["said"] = [orjson.dumps({"predictions": one, "version": 5}) for one in said]
    return together(first, counts, rng, **changes)


@pytest.mark.parametrize("seed", range(12))
def test_the_rows_are_those_of_the_same_answers_told_one_by_one(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    config: dict[str, Any] = rng.choice([{}, {"fields": ("line",)}, {"fields": ("speed",), "others": "hash"}])
    sides = {name: (Heard(tmp_path / name), a_log(**config)) for name in ("joined", "alone")}
    for heard, log in sides.values():
        for version in range(1, 6):
            heard.take(log.plan(version))
    at = 0
    for _ in range(rng.randrange(1, 9)):
        made = drawn(at, rng)
        before = answered(at + 9) if rng.random() < 0.3 else None
        for name, (_, log) in sides.items():
            if before is not None:
                log.offer(before)
            if name == "joined":
                log.answered_together(made)
            else:
                for one in made.each():
                    log.offer(one)
        if rng.random() < 0.2:
            sides["joined"][0].all_of(sides["joined"][1])
        at += 10
    for heard, log in sides.values():
        heard.all_of(log)

    (ours, our_log), (theirs, their_log) = sides.values()
    assert ours.rows() == theirs.rows()
    assert len(ours.rows()) >= 1
    assert our_log.newest == their_log.newest
    assert (our_log.is_empty, our_log._bytes, our_log.lost, ours.buffer.dropped) == (True, 0, 0, 0)
    assert ours.buffer.tables[0].schema.equals(theirs.buffer.tables[0].schema, check_metadata=True)


def test_one_that_no_row_can_be_made_of_is_told_with_its_error_and_the_others_whole(tmp_path: Path) -> None:
    heard, log, rng = Heard(tmp_path), a_log(), random.Random(0)
    made = together(0, [1] * 5, rng)
    made.written[2] = b'{"instances": [{"speed": "fast"}]}'
    log.plan(1)
    log.answered_together(made)
    heard.all_of(log)

    errors = [row["error"] for row in heard.rows()]
    assert [bool(one) for one in errors] == [False, False, True, False, False]
    assert "cannot be logged whole" in str(errors[2])
    assert [row["answer"] is None for row in heard.rows()] == [False, False, True, False, False]


@pytest.mark.parametrize("odd", [{"said": [None]}, {"written": [None]}, {"request_ids": ["\u00e9"]}])
def test_what_cannot_be_told_at_once_is_told_one_by_one(odd: dict[str, Any]) -> None:
    log = a_log()
    log.plan(1)
    log.answered_together(together(0, [1], random.Random(0), **odd))

    assert [type(one).__name__ for one in log._open] == ["tuple"]
    assert log.newest == 1


def test_there_is_room_for_all_or_none_and_each_that_has_none_is_counted_once(tmp_path: Path) -> None:
    heard, log, rng = Heard(tmp_path), a_log(), random.Random(0)
    room = int(MOST_ANSWERS * OF_ALL)
    log.answered_together(together(0, [1] * (room - 1), rng))
    log.answered_together(together(room, [1] * 2, rng))
    assert log.dropped == 2
    assert log.offer(answered(room + 2))
    assert not log.offer(answered(room + 3))
    log.answered_together(together(room + 4, [1] * 3, rng))
    assert (log.dropped, log.newest) == (6, room + 6)
    heard.all_of(log)

    assert len(heard.rows()) == room
    assert (heard.buffer.dropped, log.lost) == (6, 6)


def test_many_that_wait_are_sent_before_it_is_time() -> None:
    log, rng = a_log(), random.Random(0)
    log.answered_together(together(0, [1] * (MANY - 1), rng))
    assert not log._wake.is_set()
    log.answered_together(together(MANY, [1] * 2, rng))
    assert log._wake.is_set()


def head_of(changes: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    made = joined(together(0, [1, 1], random.Random(0)), asked=True)
    assert made is not None
    return made.head | changes, made.columns


@pytest.mark.parametrize(
    "changes",
    [{"n": 0}, {"n": 3}, {"n": -1}, {"rows": 3}, {"prepared": 7}, {"output": -2}, {"counts": [2, 0]}, {"counts": [1]},
     {"keys": ["a"]}, {"replayed": [True] * 3}, {"asked": False}, {"v": "x"}, {"n": None}],
)  # fmt: skip
def test_columns_of_another_form_than_said_are_refused(changes: dict[str, Any]) -> None:
    head, columns = head_of(changes)
    said = {"k": "answers", "blocks": [{"joined": head, "bytes": len(columns)}]}
    frame = b"".join(pack(said, columns))
    with pytest.raises(NotAFrameError):
        list(blocks_of(*unpack(frame[HEAD.size :], HEAD.unpack_from(frame)[1])))


def test_of_a_frame_those_of_one_kind_are_one_block() -> None:
    rng = random.Random(0)
    made = [joined(together(at * 9, [1] * 9, rng, client_keys=None), asked=True) for at in range(4)]
    held = [one for one in made if isinstance(one, PackedTogether)]
    frame = b"".join(answers_frame("plant", 36, held))
    found = list(blocks_of(*unpack(frame[HEAD.size :], HEAD.unpack_from(frame)[1])))
    assert [len(one) for one in found] == [36]


def test_what_is_told_together_overtakes_nothing_that_was_told_alone(tmp_path: Path) -> None:
    heard, log, rng = Heard(tmp_path), a_log(), random.Random(1)
    for at in range(20):
        log.offer(answered(at * 10))
        log.answered_together(together(at * 10 + 1, [1] * 9, rng))
        if at % 7 == 3:
            heard.all_of(log)
    heard.all_of(log)

    assert [row["request_id"] for row in heard.rows()] == [f"r{at}" for at in range(200)]
    assert (log.lost, heard.buffer.dropped) == (0, 0)


def test_a_frame_of_many_parts_is_sent_whole_in_one_call_and_to_who_reads_slowly() -> None:
    calls: list[int] = []

    class Counting(socket.socket):
        def sendmsg(self, parts: Any, *more: Any) -> int:
            calls.append(len(parts))
            return super().sendmsg(parts, *more)

    ours, theirs = socket.socketpair()
    ours.settimeout(LONG)
    with Counting(fileno=ours.detach()) as to, theirs:
        to.settimeout(LONG)
        few: list[bytes | memoryview] = [b"a", memoryview(b"bc"), b"", b"d"]
        send_whole(to, few)
        assert (theirs.recv(100), calls) == (b"abcd", [4])

        many: list[bytes | memoryview] = [bytes([at % 251]) * 3000 for at in range(MOST_PARTS + 7)]
        found = bytearray()

        def read() -> None:
            while len(found) < 3000 * len(many):
                found.extend(theirs.recv(5000))

        reader = threading.Thread(target=read)
        reader.start()
        send_whole(to, many)
        reader.join(LONG)
        assert bytes(found) == b"".join(many)
        assert calls == [4, MOST_PARTS, 7]
