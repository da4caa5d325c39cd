"""The inference log of one pipeline in a server: what is offered is packed, and waits for the thread that sends it.

Answers are packed a few at a time by whoever offers them, while what they are made of is still in that core's caches.
To keep thousands of them for another thread costs a server several times what it takes to write them down: every object
that is held is memory that the next request cannot use again, and is taken apart on another core. Nothing here waits on
behalf of a request. What finds no room is counted and gone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.infra.inference_log.count import AnswerCount
from mlratchet.infra.inference_log.lost import Lost
from mlratchet.models.inference_log.config import LogConfig
from mlratchet.models.inference_log.file import Holds
from mlratchet.models.inference_log.frames import (
    Frame,
    Kept,
    Packed,
    answers_frame,
    end_frame,
    feedback_frame,
    kept,
    packed,
    plan_frame,
)
from mlratchet.models.inference_log.joined import PackedTogether, joined
from mlratchet.models.inference_log.port import AnsweredRequest, AnsweredRequests
from mlratchet.models.tensors.named import Ragged

logger = logging.getLogger(__name__)
SchemaOf = Callable[[int], str | None]  # version -> its schema as JSON; None where it has none

MOST_ANSWERS = 20_000  # that wait, of one pipeline; the last tenth is for answers that were errors
MOST_BYTES = 64_000_000  # of what waits, of one pipeline
OF_ALL = 0.9  # of the room: beyond it only errors are taken
AT_ONCE = 32  # answers that are packed together
SMALL_BYTES = (
    256_000  # of these; larger ones are packed by the thread that sends, because others are answered meanwhile
)
MANY = 1024  # answers that wait: they are sent before it is time
FRAME_BYTES = 1_000_000  # about, of a frame


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Answers that wait together."""

    last: int  # number of the newest
    answers: int
    size: int  # bytes that are free once it is sent
    packed: Sequence[Packed | PackedTogether] = ()
    held: Sequence[Kept] = ()  # instead: who sends packs them


@dataclass(frozen=True, kw_only=True, eq=False)
class Waiting:
    """A frame that is to be sent, to whichever writer there is: whole or not at all."""

    log: PipelineLog
    frame: Frame
    size: int = 0  # bytes that are free once it is sent
    versions: Sequence[int] = ()  # whose plans the writer is told before


class PipelineLog:
    """The log of one pipeline: the `LogSink` and observer of its endpoint. Thread-safe; one thread sends."""

    def __init__(
        self, pipeline: str, config: LogConfig, schema_of: SchemaOf, wake: threading.Event, *, read_s: float
    ) -> None:
        self.pipeline = pipeline
        self._config, self._schema_of, self._wake, self._read_s = config, schema_of, wake, read_s
        self._lock = threading.Lock()
        self._open: list[tuple[int, Kept, int]] = []  # number, answer, bytes: newer than what is packed
        self._open_bytes = 0
        self._packed: deque[_Batch] = deque()
        self._waiting = self._bytes = 0  # answers, open and packed; and bytes, of what is being sent as well
        self._labels: deque[tuple[int, Sequence[Any]]] = deque()
        self._number: dict[Holds, int] = {"answers": 0, "feedback": 0}
        self.count = AnswerCount()  # the same numbers, where the writer finds them when this process was killed
        self._told = 0  # number of the newest answer that a frame tells of
        self._known: dict[int, str | None] = {}  # version -> its schema
        self._bare: set[int | None] = set()  # versions of which no field is logged
        self._lost = Lost()
        self._writer: dict[str, Any] = {}  # what the writer says of this pipeline

    def change(self, config: LogConfig, schema_of: SchemaOf, *, read_s: float) -> None:
        """What is offered from now on is logged so."""
        with self._lock:
            self._config, self._schema_of, self._known, self._read_s = config, schema_of, {}, read_s
            self._bare.clear()

    def answered(self, answered: AnsweredRequest) -> None:
        """As an endpoint tells it."""
        self.offer(answered)

    def answered_together(self, told: AnsweredRequests) -> None:
        """The same of several; there is room for all of them or for none."""
        try:
            small = told.rows.nbytes <= SMALL_BYTES  # what is more is looked at by who sends
            found = joined(told, asked=told.version not in self._bare) if small else None
        except Exception:  # of one answer that is odd the others are not lost
            logger.exception("%s: %d answers are looked at one by one", self.pipeline, len(told.request_ids))
            found = None
        if found is None:
            for one in told.each():
                self.offer(one)
            return
        count, size = len(told.request_ids), found.size
        with self._lock:
            before = self._number["answers"]
            last = self._number["answers"] = before + count
            self.count.write("answers", last)
            if self._waiting + count > MOST_ANSWERS * OF_ALL or self._bytes + size > MOST_BYTES * OF_ALL:
                self._lost.drop(last, count)
                return
            if self._open:
                self._leave_open()
            self._packed.append(_Batch(last, count, size, (found,)))
            many = self._waiting < MANY <= self._waiting + count
            self._waiting += count
            self._bytes += size
        if many:
            self._wake.set()

    def offer(self, answered: AnsweredRequest) -> bool:
        """See `LogSink`."""
        one: Kept | None = None
        size = 0
        try:
            size, one = size_of(answered), kept(answered, asked=answered.version not in self._bare)
        except Exception:  # whatever is odd about it: its number is missing, and the writer counts it
            logger.exception("%s: nothing can be told of request %s", self.pipeline, answered.request_id)
        share = 1.0 if answered.status >= 400 else OF_ALL
        with self._lock:
            number = self._number["answers"] = self._number["answers"] + 1
            self.count.write("answers", number)
            no_room = self._waiting >= MOST_ANSWERS * share or self._bytes + size > MOST_BYTES * share
            if one is None or no_room:
                self._lost.drop(number)
                return False
            self._waiting += 1
            self._bytes += size
            self._open_bytes += size
            self._open.append((number, one, size))
            if len(self._open) == AT_ONCE and self._open_bytes <= SMALL_BYTES:
                self._pack_here()
            many = self._waiting == MANY
        if many:
            self._wake.set()
        return True

    def _leave_open(self) -> None:
        """All that is open to who sends, under the lock: what comes after it is not to overtake it."""
        held, opened = self._open, self._open_bytes
        self._open, self._open_bytes = [], 0
        self._packed.append(_Batch(held[-1][0], len(held), opened, held=[one for _, one, _ in held]))

    def _pack_here(self) -> None:
        """All that is open, under the lock: who sends is not to overtake it."""
        held, opened = self._open, self._open_bytes
        self._open, self._open_bytes = [], 0
        found = self._packed_of([one for _, one, _ in held])
        size = sum(one.size for one in found)
        self._bytes += size - opened
        self._packed.append(_Batch(held[-1][0], len(held), size, found))

    def _packed_of(self, held: Sequence[Kept]) -> list[Packed]:
        try:
            return packed(held)
        except Exception:  # of one answer that cannot be told the others are not lost
            logger.exception("%s: %d answers are looked at one by one", self.pipeline, len(held))
            return [found for one in held for found in _if_it_can_be_told(one)]

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
        return {"waiting": self._waiting + len(self._labels), "dropped": self.lost, "writer": self._writer or None}

    def hear(self, facts: Mapping[str, Any]) -> None:
        """What the writer says of this pipeline, and of this server's answers (`yours`)."""
        self._writer = {name: said for name, said in facts.items() if name != "yours"}
        if facts.get("yours"):
            with self._lock:
                self._lost.hear(facts["yours"])

    @property
    def lost(self) -> int:
        """Answers of this server that are in no file, since this process started: no room here, or none at the
        writer. Never less than before."""
        with self._lock:
            return self._lost.count

    @property
    def dropped(self) -> int:
        """Those of them that found no room here."""
        return self._lost.dropped

    @property
    def newest(self) -> int:
        """Number of the answer that was offered last."""
        return self._number["answers"]

    def waiting(self, up_to: int) -> list[Waiting]:
        """What is to be sent next: at most a frame of labels, and one of answers as long as none was told of with the
        number `up_to` or a later one."""
        found: list[Waiting] = []
        if self._told < up_to:
            found.append(self._answers())
        with self._lock:
            labels, self._labels = self._labels, deque()
            newest = self._number["feedback"]
        if labels:
            frame = feedback_frame(self.pipeline, newest, [one for _, one in labels])
            found.append(Waiting(log=self, frame=frame))
        return found

    def _answers(self) -> Waiting:
        """What is packed; else of what is open as much as is packed at once."""
        with self._lock:
            batches: list[_Batch] = []
            size = 0
            while self._packed and size < FRAME_BYTES:
                batches.append(self._packed.popleft())
                size += batches[-1].size
            opened = [] if batches else self._open[:AT_ONCE]
            if opened:
                self._open = self._open[AT_ONCE:]
                size = sum(one for *_, one in opened)
                self._open_bytes -= size
            self._waiting -= len(opened) + sum(one.answers for one in batches)
            if self._packed or self._open:
                last = opened[-1][0] if opened else batches[-1].last
            else:  # what was dropped since is told, too
                last = self._number["answers"]
        found: list[Packed | PackedTogether] = [*self._packed_of([one for _, one, _ in opened])] if opened else []
        for batch in batches:
            found += self._packed_of(batch.held) if batch.held else batch.packed
        self._told = last
        frame = answers_frame(self.pipeline, last, found)
        return Waiting(log=self, frame=frame, size=size, versions=sorted({one.version for one in found}))

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
        return not self._waiting and not self._labels and self._told == self._number["answers"]

    def plan(self, version: int) -> Frame:
        """How answers of a version are logged."""
        if version not in self._known:
            self._known[version] = self._schema_of(version) if version else None
        schema = self._known[version]
        with self._lock:
            config = self._config
            if schema is None or (not config.fields and config.others == "drop"):
                self._bare.add(version)
        return plan_frame(self.pipeline, version, schema, config.model_dump_json(), read_s=self._read_s)


def _if_it_can_be_told(one: Kept) -> list[Packed]:
    try:
        return packed([one])
    except Exception:  # noqa: BLE001 - whatever is odd about it, it is counted as lost
        return []


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
