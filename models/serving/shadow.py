"""The champion's shadow: a candidate is asked what clients ask, and nobody is told its answer but the inference log.

It has a thread and a short queue of its own, which is dropped from first, and computes for a bounded part of the time:
no client waits for it, and nothing it does wrong reaches one.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mlratchet.models.serving.observing import Answered, AnsweredTogether, Observer
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import rows_of
from mlratchet.models.serving.slot import Slot

logger = logging.getLogger(__name__)
MOST_WAITING = 16  # requests
MOST_BYTES = 4_000_000  # of one request's rows; a larger one is not shadowed
PART = 0.2  # of the time in which it computes at most


class Shadow(Observer):
    """An observer in front of another: what it passes on, it may also ask the candidate."""

    def __init__(self, slot: Slot, told: Observer, *, pause: Callable[[float], object] = time.sleep) -> None:
        """`told`: who keeps what was answered; `pause`: waits so many seconds."""
        self._slot, self._told, self._pause = slot, told, pause
        self._waiting: queue.Queue[Answered | None] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self.dropped = 0  # requests that were not shadowed for want of room

    def answered(self, answered: Answered) -> None:
        """See the port. A request of which the champion made an answer is queued, or dropped."""
        self._told.answered(answered)
        if self._asks():
            self._queue(answered)

    def answered_together(self, together: AnsweredTogether) -> None:
        """The same of each."""
        self._told.answered_together(together)
        if self._asks():
            for one in together.each():
                self._queue(one)

    def _asks(self) -> bool:
        """Whether there is a candidate to be asked."""
        beside = self._slot.beside
        return beside is not None and beside.shadow and time.time() < beside.expires_s

    def _queue(self, answered: Answered) -> None:
        if answered.status != 200 or answered.rows is None or answered.rows.nbytes > MOST_BYTES:
            return
        try:
            self._waiting.put_nowait(answered)
        except queue.Full:
            self.dropped += 1
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True, name="shadow")
            self._thread.start()

    def close(self) -> None:
        """What waits is dropped, and the thread ends when it has done what it is at; nobody waits for it."""
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _run(self) -> None:
        while (answered := self._waiting.get()) is not None:
            began = time.perf_counter()
            self.ask(answered)
            self._pause((time.perf_counter() - began) * (1 / PART - 1))

    def ask(self, answered: Answered) -> None:
        """What the candidate makes of one request, told as a request of the variant `shadow`. Never raises."""
        with self._slot.shadowing:  # one thread at a time asks a predictor, and the next phase waits for this one
            beside = self._slot.beside
            if beside is None or not beside.shadow:
                return
            try:
                self._told.answered(shadowed(answered, beside.predictor))
            except Exception:
                logger.exception("%s: the shadow of %s is kept by nobody", answered.pipeline, answered.request_id)


def shadowed(answered: Answered, candidate: Predictor) -> Answered:
    """The same request as the candidate answers it: a failure is its status, as a client would have had it."""
    blank = replace(
        answered,
        variant="shadow",
        version=candidate.version,
        generation=candidate.generation,
        rows=None,
        output=None,
        predictions=None,
        said=None,
    )
    began = time.perf_counter()
    try:
        rows = rows_of(asked_about(answered), candidate.signature, preparer=candidate.preparer)
        answers = candidate.answer(rows)
    except BadRequestError as error:
        return replace(blank, status=error.status, error=str(error), latency_ms=_since(began))
    except Exception as error:  # noqa: BLE001 - whatever a candidate does wrong is what the shadow is there to show
        return replace(blank, status=500, error=type(error).__name__, latency_ms=_since(began))
    return replace(
        blank,
        status=200,
        error="",
        latency_ms=_since(began),
        rows=rows,
        output=answers.output,
        predictions=answers.predictions,
    )


def asked_about(answered: Answered) -> Any:
    """What was asked about, as JSON holds it: also where a client sent an array, which has no instances."""
    if answered.instances is not None or answered.rows is None:
        return answered.instances
    return answered.rows.array.tolist()


def _since(began: float) -> float:
    return (time.perf_counter() - began) * 1e3
