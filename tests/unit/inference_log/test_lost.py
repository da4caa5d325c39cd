"""What a server says is lost of its answers: each once, whoever of the two lost it, and never less than before."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.inference_log import pipeline_log
from mlratchet.infra.inference_log.pipeline_log import PipelineLog
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.inference_log.writer import LogWriter
from mlratchet.models.inference_log.file import Stretch
from mlratchet.models.inference_log.frames import HEAD, unpack

from tests.unit.inference_log.test_frames import answered
from tests.unit.inference_log.test_pipeline_log import a_log

TOO_LARGE = [{"speed": 1.0, "line": "x" * 70_000_000}]


class Heard:
    """A writer that is killed and begins again, and what its servers know of it."""

    def __init__(self, folder: Path, *, spool_bytes: int = 50_000_000) -> None:
        self.spool = LogSpool(folder / "s", most_bytes=spool_bytes)
        self.filed: dict[str, Stretch] = {}
        self.begin()

    def begin(self) -> None:
        self.writer = LogWriter(self.spool, lambda pipeline, holds: dict(self.filed), secret=b"s")

    def flush(self) -> None:
        self.writer.flush_all(1000.0)
        for entry in self.spool.entries():
            if entry.facts is not None:
                self.filed |= entry.facts.servers

    def take(self, log: PipelineLog, server: str = "s1") -> None:
        """All that waits, and what the writer says then."""
        while waiting := log.waiting(log.newest):
            for one in waiting:
                for frame in [*map(log.plan, one.versions), one.frame]:
                    held = b"".join(frame)
                    self.writer.hear(server, *unpack(held[HEAD.size :], HEAD.unpack_from(held)[1]), 0.0)
                log.freed(one.size)
        log.hear(self.writer.facts(server).get("plant", {}))


def offer(log: PipelineLog, first: int, count: int, *, dropped: int = 0) -> None:
    for number in range(first, first + count):
        log.offer(answered(number))
    for number in range(dropped):
        assert not log.offer(answered(number, instances=TOO_LARGE))


def test_what_a_server_dropped_is_counted_once_and_by_no_other_server(tmp_path: Path) -> None:
    heard, ours, theirs = Heard(tmp_path), a_log(), a_log()
    offer(ours, 0, 3, dropped=5)
    offer(theirs, 0, 3, dropped=2)
    offer(ours, 3, 1)
    for _ in range(2):
        heard.take(ours, "s1")
        heard.take(theirs, "s2")

    assert (ours.lost, theirs.lost) == (5, 2)
    assert ours.facts()["dropped"] == 5
    assert heard.writer.facts("s1")["plant"]["dropped"] == 7


def test_what_the_writer_has_no_room_for_is_counted_by_whose_answers_they_were(tmp_path: Path) -> None:
    heard, ours, theirs = Heard(tmp_path, spool_bytes=10), a_log(), a_log()
    offer(ours, 0, 10, dropped=1)
    offer(theirs, 10, 4)
    heard.take(ours, "s1")
    heard.take(theirs, "s2")
    assert (ours.lost, theirs.lost) == (1, 0)
    heard.flush()
    heard.take(ours, "s1")
    heard.take(theirs, "s2")

    assert (ours.lost, theirs.lost) == (11, 4)


def test_what_a_killed_writer_held_is_counted_and_what_the_server_dropped_then_is_not_again(tmp_path: Path) -> None:
    heard, log = Heard(tmp_path), a_log()
    offer(log, 0, 10, dropped=2)
    heard.take(log)
    heard.flush()
    offer(log, 10, 7, dropped=3)
    heard.take(log)
    assert log.lost == 5
    heard.begin()
    assert "plant" not in heard.writer.facts("s1")
    offer(log, 17, 3, dropped=1)
    heard.take(log)

    assert log.lost == 2 + 3 + 1 + 7


@pytest.mark.parametrize("seed", range(6))
def test_each_answer_is_in_a_file_or_lost_once_whatever_happens(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline_log, "MOST_ANSWERS", 40)
    rng, heard, log, offered, last = random.Random(seed), Heard(tmp_path), a_log(), 0, 0
    for _ in range(60):
        chance = rng.random()
        if chance < 0.5:
            count = rng.randrange(60)
            offer(log, offered, count)
            offered += count
        elif chance < 0.8:
            heard.take(log)
        elif chance < 0.95:
            heard.flush()
        else:
            heard.begin()
        assert log.lost >= last
        last = log.lost
    offer(log, offered, 1)
    heard.take(log)
    heard.flush()

    assert log.dropped > 0
    assert log.lost == offered + 1 - _rows(heard.spool)


def _rows(spool: LogSpool) -> int:
    facts: list[Any] = [entry.facts for entry in spool.entries() if entry.facts is not None]
    return sum(one.rows for one in facts)
