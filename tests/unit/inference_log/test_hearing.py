"""The log writer without its sockets: what it makes of the frames that it hears."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlratchet.infra.inference_log.process import known_servers, spooled_servers
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.inference_log.upload import Heads
from mlratchet.infra.inference_log.writer import GONE_S, LogWriter
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.frames import (
    HEAD,
    NotAFrameError,
    answers_frame,
    end_frame,
    feedback_frame,
    kept,
    pack,
    packed,
    plan_frame,
    unpack,
)

from tests.unit.inference_log.test_frames import SCHEMA, answered


class Numbered:
    """How far a server came, as its memory says."""

    def __init__(self, **numbers: int) -> None:
        self._numbers = numbers

    def read(self, holds: str) -> int | None:
        return self._numbers.get(holds, 0)


def hears(tmp_path: Path) -> LogWriter:
    return LogWriter(LogSpool(tmp_path / "s", most_bytes=50_000_000), lambda pipeline, holds: {}, secret=b"s")


def tell(writer: LogWriter, frame: list[bytes | memoryview], now_s: float, server: str = "s1") -> None:
    held = b"".join(frame)
    writer.hear(server, *unpack(held[HEAD.size :], HEAD.unpack_from(held)[1]), now_s)


def plan(read_s: float = 30.0) -> list[bytes | memoryview]:
    return plan_frame("plant", 1, SCHEMA.model_dump_json(), LogConfig().model_dump_json(), read_s=read_s)


@pytest.mark.parametrize(
    ("reads_s", "settled_s"), [([], 965.0), ([10.0], 985.0), ([100.0], 895.0), ([100.0, 10.0], 895.0)]
)
def test_the_log_is_complete_up_to_where_no_request_can_still_arrive(
    tmp_path: Path, reads_s: list[float], settled_s: float
) -> None:
    spool = LogSpool(tmp_path / "s", most_bytes=50_000_000)
    writer = LogWriter(spool, lambda pipeline, holds: {}, secret=b"s")
    for read_s in reads_s:  # the longest holds: what began under it may still come
        tell(writer, plan(read_s), 0.0)
    tell(writer, answers_frame("plant", 1, packed([kept(answered(1))])), 0.0)
    writer.flush_all(1000.0)

    (entry,) = spool.entries()
    assert entry.facts is not None
    assert entry.facts.settled_s == settled_s


def test_a_server_of_an_earlier_release_that_does_not_say_how_long_it_reads_is_heard(tmp_path: Path) -> None:
    spool = LogSpool(tmp_path / "s", most_bytes=50_000_000)
    writer = LogWriter(spool, lambda pipeline, holds: {}, secret=b"s")
    said = {"k": "plan", "p": "plant", "v": 1, "schema": SCHEMA.model_dump_json(), "log": LogConfig().model_dump_json()}
    tell(writer, pack(said), 0.0)
    tell(writer, answers_frame("plant", 1, packed([kept(answered(1))])), 0.0)
    writer.flush_all(1000.0)
    (entry,) = spool.entries()
    assert entry.facts is not None
    assert entry.facts.settled_s == 965.0


@pytest.mark.parametrize(("ends", "lost"), [(True, 0), (False, 3)])
def test_a_server_that_ended_before_a_file_came_lost_nothing_and_a_killed_one_what_it_held(
    tmp_path: Path, ends: bool, lost: int
) -> None:
    writer = hears(tmp_path)
    writer.connected("s1")
    writer.counts("s1", "plant", Numbered(answers=100 + lost))  # type: ignore[arg-type]
    tell(writer, answers_frame("plant", 100, packed([kept(answered(number)) for number in range(100)])), 0.0)
    if ends:
        tell(writer, end_frame("plant", "answers", 100), 8.0)
    writer.disconnected("s1", 8.0)
    assert writer.flush_all(15.5)
    writer.tick(8.5 + GONE_S, 18.5)

    assert writer.facts("")["plant"]["dropped"] == lost


@pytest.mark.parametrize("restarted", [False, True])
def test_a_last_word_that_comes_again_after_a_file_was_written_counts_nothing_as_lost(
    tmp_path: Path, restarted: bool
) -> None:
    writer = hears(tmp_path)
    writer.connected("s1")
    tell(writer, answers_frame("plant", 100, packed([kept(answered(number)) for number in range(100)])), 0.0)
    tell(writer, end_frame("plant", "answers", 100), 1.0)
    assert writer.flush_all(15.5)
    if restarted:
        spool = LogSpool(tmp_path / "s", most_bytes=50_000_000)
        known = spooled_servers(spool)
        writer = LogWriter(
            spool,
            lambda pipeline, holds: known_servers(Heads(tmp_path / "h"), known, pipeline, holds),
            secret=b"s",
        )
    writer.connected("s1")  # it could not tell whether its words had arrived
    writer.counts("s1", "plant", Numbered(answers=100))  # type: ignore[arg-type]
    tell(writer, end_frame("plant", "answers", 100), 16.0)
    writer.disconnected("s1", 16.0)
    writer.tick(17.0 + GONE_S, 30.0)
    assert writer.facts("")["plant"]["dropped"] == 0
    assert not writer.flush_all(31.0), "there is nothing to tell"
    tell(writer, end_frame("plant", "answers", 104), 32.0, "s2")
    assert writer.facts("")["plant"]["dropped"] == 104, "of another that was never heard"


def test_what_no_row_can_be_made_of_is_a_gap_and_what_a_field_cannot_hold_is_told(tmp_path: Path) -> None:
    writer = hears(tmp_path)
    tell(writer, plan(), 0.0)
    strange = answered(2, instances=[{"speed": "fast"}])
    tell(writer, answers_frame("plant", 3, packed([kept(one) for one in (answered(1), strange, answered(3))])), 0.0)
    with pytest.raises(NotAFrameError):
        tell(writer, answers_frame("plant", 4, packed([kept(answered(4, version="one"))])), 0.0)
    tell(writer, answers_frame("plant", 5, packed([kept(answered(5))])), 0.0)

    (buffer,) = [one for (_, holds), one in writer._buffers.items() if holds == "answers"]
    rows = [row for table in buffer.tables for row in table.to_pylist()]
    assert [row["request_id"] for row in rows] == ["r1", "r2", "r3", "r5"]
    assert [row["field.speed"] for row in rows] == [0.0, None, 0.0, 0.0]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    assert rows[1]["prepared"] == rows[2]["prepared"]
    assert buffer.dropped == 1


def test_labels_of_which_no_row_can_be_made_are_a_gap(tmp_path: Path) -> None:
    writer = hears(tmp_path)
    with pytest.raises(NotAFrameError):
        tell(writer, feedback_frame("plant", 1, [["r1", "a", 3, 5.0, "clinic"]]), 0.0)
    tell(writer, feedback_frame("plant", 2, [["r2", 0, "yes", 5.0, "clinic"]]), 0.0)

    (buffer,) = [one for (_, holds), one in writer._buffers.items() if holds == "feedback"]
    assert (buffer.rows, buffer.dropped) == (1, 1)
