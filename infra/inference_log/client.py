"""The server's side of the inference log: answers are queued and sent to the log writer by a thread of their own.

Nothing here waits for the writer, S3 or a disk on behalf of a request. What finds no room is counted and gone.
"""

from __future__ import annotations

import logging
import secrets
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from mlratchet.infra.inference_log.count import AnswerCount
from mlratchet.infra.inference_log.socket import connect
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import Holds
from mlratchet.models.inference_log.frames import (
    answers_frame,
    count_frame,
    end_frame,
    feedback_frame,
    hello_frame,
    plan_frame,
)
from mlratchet.models.inference_log.port import AnsweredRequest
from mlratchet.models.tensors.named import Ragged

logger = logging.getLogger(__name__)
Frame = list[bytes | memoryview]
SchemaOf = Callable[[int], str | None]  # version -> its schema as JSON; None where it has none

EVERY_S = 0.1  # between two looks at the queues
MOST_ANSWERS = 20_000  # that wait, of one pipeline; the last tenth is for answers that were errors
MOST_BYTES = 64_000_000  # of what waits, of one pipeline
OF_ALL = 0.9  # of the room: beyond it only errors are taken
AT_ONCE = 256  # answers of a frame: one is made while requests are answered, and takes milliseconds
SEND_S = 5.0  # for a frame; a writer that takes longer is connected to anew
AGAIN_S = 0.5  # between two tries to connect
LAST_WORDS_S = 5.0  # of a server that ends


class PipelineLog:
    """The log of one pipeline: the `LogSink` and observer of its endpoint. Thread-safe."""

    def __init__(
        self, pipeline: str, config: LogConfig, schema_of: SchemaOf, wake: threading.Event, *, read_s: float
    ) -> None:
        self.pipeline = pipeline
        self._config, self._schema_of, self._wake, self._read_s = config, schema_of, wake, read_s
        self._lock = threading.Lock()
        self._answers: deque[tuple[int, AnsweredRequest, int]] = deque()  # number, answer, bytes
        self._labels: deque[tuple[int, Sequence[Any]]] = deque()
        self._bytes = 0
        self._number: dict[Holds, int] = {"answers": 0, "feedback": 0}
        self.count = AnswerCount()  # the same numbers, where the writer finds them when this process was killed
        self._told = 0  # number of the newest answer that a frame tells of
        self._known: dict[int, str | None] = {}  # version -> its schema
        self.dropped = 0
        self.writer: dict[str, Any] = {}  # what the writer says of this pipeline

    def change(self, config: LogConfig, schema_of: SchemaOf, *, read_s: float) -> None:
        """What is offered from now on is logged so."""
        self._config, self._schema_of, self._known, self._read_s = config, schema_of, {}, read_s

    def answered(self, answered: AnsweredRequest) -> None:
        """As an endpoint tells it."""
        self.offer(answered)

    def offer(self, answered: AnsweredRequest) -> bool:
        """See `LogSink`."""
        size = size_of(answered)
        share = 1.0 if answered.status >= 400 else OF_ALL
        with self._lock:
            self._number["answers"] += 1
            self.count.write("answers", self._number["answers"])
            waiting = len(self._answers)
            if waiting >= MOST_ANSWERS * share or self._bytes + size > MOST_BYTES * share:
                self.dropped += 1
                return False
            self._bytes += size
            self._answers.append((self._number["answers"], answered, size))
        if waiting == AT_ONCE * 4:
            self._wake.set()
        return True

    def offer_labels(self, labels: Sequence[Sequence[Any]]) -> bool:
        """Rows of `columns.LABELS`; all of them or none: False where there is no room, and whoever brings them is to
        come again."""
        with self._lock:
            if len(self._labels) + len(labels) > MOST_ANSWERS:
                return False
            for one in labels:
                self._number["feedback"] += 1
                self._labels.append((self._number["feedback"], one))
            self.count.write("feedback", self._number["feedback"])
        return True

    def facts(self) -> dict[str, Any]:
        """For `/health`: what waits, and what was lost on both sides of the socket."""
        return {"waiting": len(self._answers) + len(self._labels), "dropped": self.lost, "writer": self.writer or None}

    @property
    def lost(self) -> int:
        """Answers that are in no file, since this process started: no room here, or none at the writer."""
        return self.dropped + int(self.writer.get("dropped", 0))

    def waiting(self) -> list[Waiting]:
        """What is to be sent next: at most a frame of answers and one of labels."""
        with self._lock:
            held = [self._answers.popleft() for _ in range(min(AT_ONCE, len(self._answers)))]
            last = held[-1][0] if self._answers else self._number["answers"]
            labels, self._labels = self._labels, deque()
            newest = self._number["feedback"]
        found: list[Waiting] = []
        if held or last > self._told:
            frame = self._answers_frame(last, [one for _, one, _ in held])
            versions = sorted({one.version or 0 for _, one, _ in held})
            found.append(Waiting(log=self, frame=frame, size=sum(size for *_, size in held), versions=versions))
            self._told = last
        if labels:
            frame = feedback_frame(self.pipeline, newest, [one for _, one in labels])
            found.append(Waiting(log=self, frame=frame))
        return found

    def _answers_frame(self, last: int, held: list[AnsweredRequest]) -> Frame:
        try:
            return answers_frame(self.pipeline, last, held)
        except Exception:  # of one answer that cannot be told the others are not lost
            logger.exception("%s: %d answers are looked at one by one", self.pipeline, len(held))
            return answers_frame(self.pipeline, last, [one for one in held if _can_be_told(one)])

    def freed(self, size: int) -> None:
        """So many bytes are with the writer."""
        with self._lock:
            self._bytes -= size

    def end(self) -> list[Waiting]:
        """That there is no more."""
        numbers = [(holds, number) for holds, number in self._number.items() if number]
        return [Waiting(log=self, frame=end_frame(self.pipeline, holds, number)) for holds, number in numbers]

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._answers and not self._labels and self._told == self._number["answers"]

    def plan(self, version: int) -> Frame:
        """How answers of a version are logged."""
        if version not in self._known:
            self._known[version] = self._schema_of(version) if version else None
        schema, log = self._known[version], self._config.model_dump_json()
        return plan_frame(self.pipeline, version, schema, log, read_s=self._read_s)


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """A frame that is to be sent, to whichever writer there is: whole or not at all."""

    log: PipelineLog
    frame: Frame
    size: int = 0  # bytes that are free once it is sent
    versions: Sequence[int] = ()  # whose plans the writer is told before


def _can_be_told(one: AnsweredRequest) -> bool:
    try:
        answers_frame(one.pipeline, 0, [one])
    except Exception:  # noqa: BLE001 - whatever is odd about it, it is counted as lost
        return False
    return True


def size_of(answered: AnsweredRequest) -> int:
    """About how many bytes an answer holds: prepared rows, and texts, pictures and sounds as they were sent."""
    size = 1000
    if answered.rows is not None:
        for column in answered.rows.columns.values():
            size += column.values.nbytes if isinstance(column, Ragged) else column.nbytes
    if answered.written is not None:
        return size + 4 * len(answered.written)  # as it was written, and as it was read
    for instance in answered.instances or ():
        if isinstance(instance, dict):
            for value in instance.values():
                if isinstance(value, str):
                    size += len(value)
    return size


class LogClient:
    """One connection of a server process for all of its pipelines, and the thread that fills it."""

    def __init__(self, home: Path) -> None:
        self._home, self._server = home, secrets.token_hex(8)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._logs: dict[str, PipelineLog] = {}
        self._over: list[PipelineLog] = []  # all of them, once this process ends
        self._connection: socket.socket | None = None
        self._pending: deque[Waiting] = deque()
        self._planned: set[tuple[str, int]] = set()  # of which the writer that is connected was told
        self._counted: set[str] = set()  # pipelines whose count it was given
        self._replies = b""
        self._not_before = 0.0
        self._last_words_s = LAST_WORDS_S
        self._thread = threading.Thread(target=self._run, name="inference-log", daemon=True)

    def take_up(self, pipeline: str, config: LogConfig, schema_of: SchemaOf, *, read_s: float) -> PipelineLog:
        """The log of a pipeline that is served from now on, or in another way: its numbers go on, as long as this
        process lives. `read_s`: seconds that a request may take to arrive."""
        log = self._logs.get(pipeline)
        if log is None:
            log = self._logs[pipeline] = PipelineLog(pipeline, config, schema_of, self._wake, read_s=read_s)
        else:
            log.change(config, schema_of, read_s=read_s)
        self._planned = {told for told in self._planned if told[0] != pipeline}
        return log

    def start(self) -> None:
        """From now on what is offered is sent."""
        self._thread.start()

    def close(self, within_s: float = LAST_WORDS_S) -> None:
        """Send what waits, and that there is no more. Gives up after `within_s`: what is left is lost, and the writer
        counts this server among those that ended without a word."""
        self._last_words_s = within_s
        self._stopping.set()
        self._wake.set()
        self._thread.join(within_s + AGAIN_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(EVERY_S)
            self._wake.clear()
            self._send_waiting()
        self._over, self._logs = list(self._logs.values()), {}
        until_s = time.monotonic() + self._last_words_s
        while (self._over or self._pending) and time.monotonic() < until_s:
            self._send_waiting()
            time.sleep(AGAIN_S / 10)
        self._forget_connection()

    def _send_waiting(self) -> None:
        """All that waits, a frame of each pipeline in turn, as long as there is a writer."""
        while self._is_connected() and self._give_counts():
            self._hear()
            if not self._pending:
                self._pending.extend(self._gathered())
            if not self._pending:
                return
            first = self._pending[0]
            if self._tell_plans(first) and self._sent(first.frame):
                self._pending.popleft()
                first.log.freed(first.size)

    def _gathered(self) -> list[Waiting]:
        found = [one for log in [*self._logs.values(), *self._over] for one in log.waiting()]
        for log in [one for one in self._over if one.is_empty]:
            found += log.end()
            self._over.remove(log)
        return found

    def _give_counts(self) -> bool:
        """Of each pipeline, before anything else of it."""
        for log in [*self._logs.values(), *self._over]:
            if log.pipeline not in self._counted:
                if not self._sent(count_frame(log.pipeline), log.count.descriptor):
                    return False
                self._counted.add(log.pipeline)
        return True

    def _tell_plans(self, waiting: Waiting) -> bool:
        for version in waiting.versions:
            told = waiting.log.pipeline, version
            if told not in self._planned and not self._sent(waiting.log.plan(version)):
                return False
            self._planned.add(told)
        return True

    def _is_connected(self) -> bool:
        if self._connection is not None:
            return True
        if time.monotonic() < self._not_before:
            return False
        try:
            self._connection = connect(self._home, timeout_s=SEND_S)
        except OSError:
            self._not_before = time.monotonic() + AGAIN_S
            return False
        self._planned.clear()
        self._counted.clear()
        return self._sent(hello_frame(self._server))

    def _sent(self, frame: Frame, descriptor: int | None = None) -> bool:
        """`descriptor`: goes with the first byte."""
        if self._connection is None:
            return False
        try:
            if descriptor is not None:
                first, *frame = frame
                sent = socket.send_fds(self._connection, [first], [descriptor])
                frame = [first[sent:], *frame]
            for part in frame:
                self._connection.sendall(part)
        except OSError as error:
            logger.warning("inference log: the writer is gone (%s)", error)
            self._forget_connection()
            return False
        return True

    def _forget_connection(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._replies = None, b""

    def _hear(self) -> None:
        """What the writer says of each pipeline, a line of JSON at a time."""
        if self._connection is None:
            return
        if not select.select([self._connection], [], [], 0)[0]:
            return
        try:
            more = self._connection.recv(65536)
        except OSError:
            more = b""
        if not more:
            self._forget_connection()
            return
        *lines, self._replies = (self._replies + more).split(b"\n")
        for pipeline, facts in (orjson.loads(lines[-1]) if lines else {}).items():
            if pipeline in self._logs:
                self._logs[pipeline].writer = facts
