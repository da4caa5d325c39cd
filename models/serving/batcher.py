"""Micro-batching without waiting: what arrived until the model is free is the next batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mlratchet.models.serving.asked import ClientGoneError
from mlratchet.models.serving.callback import Waiter
from mlratchet.models.serving.deadline import NEVER, overdue
from mlratchet.models.serving.pace import Pace
from mlratchet.models.serving.predictor import Answers, Predictor
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES
from mlratchet.models.tensors.named import Inputs

POLL_S = 0.01  # between two looks at what is still asked, at the end
LONG_S = 0.05  # who waited longer may be gone: it costs more to ask than to compute most requests


def here() -> bool:
    """The client that is always there."""
    return False


def untold(rows: float) -> None:
    """Where nobody counts batches."""


Settled = Callable[[Inputs | None, Answers | None], None]
"""Called once all of a batch were told: with the rows of all of them, one request after the other, and what they were
answered by one forward; None where there was none for all."""


def unsettled(rows: Inputs | None, answers: Answers | None) -> None:
    """Where nobody waits for a whole batch."""


@dataclass(slots=True, eq=False)
class _Found:
    """Of a batch: per request its answers or what went wrong, and of all together as `Settled` has it."""

    each: Sequence[Answers | BaseException]
    rows: Inputs | None = None
    answers: Answers | None = None


NOTHING = _Found(())


@dataclass(slots=True, eq=False)  # frozen, it costs every request twice as much to make
class _Waiting:
    rows: Inputs
    predictor: Predictor
    answer: asyncio.Future[Answers] | Waiter[Answers]
    since_s: float  # the event loop's time
    until_s: float
    is_gone: Callable[[], bool]

    def is_wanted(self, now_s: float) -> bool:
        """Whether somebody waits for it and has time."""
        if self.answer.done():  # whoever asked stopped waiting
            return False
        if now_s >= self.until_s:
            self.answer.set_exception(overdue(self.until_s - self.since_s))
        elif now_s - self.since_s > LONG_S and self.is_gone():
            self.answer.set_exception(ClientGoneError())
        return not self.answer.done()


class Batcher:
    """One forward at a time: on a thread of its own, or on the event loop where that takes less than the way to a
    thread. A request is answered by the version that parsed it, and what it makes the model do is its own affair: a
    batch that fails is computed again, request by request. Used on one event loop."""

    def __init__(
        self, *, max_batch_rows: int, threads: int = 1, computed: Callable[[float], None] = untold,
        settled: Settled = unsettled,
    ) -> None:  # fmt: skip
        """`threads`: intra-op threads of a forward; torch counts them by the thread that asks. `computed`: told of the
        rows of every batch. `settled`: must not raise."""
        self._max_rows, self._computed, self._settled = max_batch_rows, computed, settled
        self._waiting: deque[_Waiting] = deque()  # bounded by who lets requests in (`admission.py`)
        self._asking = False
        self._pace = Pace(threads=threads)
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="forward", initializer=torch.set_num_threads, initargs=(threads,)
        )

    async def stop(self) -> None:
        """Answer what is queued, then end."""
        while self._asking:
            await asyncio.sleep(POLL_S)
        self._thread.shutdown()

    async def predict(
        self, predictor: Predictor, rows: Inputs, *, until_s: float = NEVER, is_gone: Callable[[], bool] = here
    ) -> Answers:
        """The answers to one request's rows. Raises what the model raises for them.

        `until_s`: after it (the event loop's time), and once the client `is_gone`, what still waits is not computed:
        ``BadRequestError`` (504) or ``ClientGoneError``."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answers] = loop.create_future()
        self._add(_Waiting(rows, predictor, answer, loop.time(), until_s, is_gone), loop)
        return await answer

    def ask(
        self, predictor: Predictor, rows: Inputs, answer: Waiter[Answers], *, is_gone: Callable[[], bool] = here
    ) -> None:
        """As `predict`, without waiting: `answer` is told later, the answers or what the model raised."""
        loop = asyncio.get_running_loop()
        self._add(_Waiting(rows, predictor, answer, loop.time(), NEVER, is_gone), loop)

    def _add(self, one: _Waiting, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting.append(one)
        if not self._asking:
            self._asking = True
            loop.call_soon(self._ask, loop)  # with whatever else this turn of the loop brings

    def _ask(self, loop: asyncio.AbstractEventLoop) -> None:
        """The model, for what waits. A method of its own, so that no variable keeps a version alive that was swapped
        out while nobody asks."""
        now_s = loop.time()
        batch = [one for one in self._gather() if one.is_wanted(now_s)]
        if not batch:
            self._settle([], NOTHING, loop)
            return
        predictor, rows = batch[0].predictor, sum(len(one.rows) for one in batch)
        self._computed(rows)
        if self._pace.is_quick(predictor, rows):
            self._settle(batch, self._timed(batch), loop)
            return
        asked = loop.run_in_executor(self._thread, self._timed, batch)
        asked.add_done_callback(partial(self._done, batch, loop))

    def _timed(self, batch: Sequence[_Waiting]) -> _Found:
        found: _Found = self._pace.timed(batch[0].predictor, partial(self._answers, batch))
        return found

    def _done(self, batch: list[_Waiting], loop: asyncio.AbstractEventLoop, asked: asyncio.Future[_Found]) -> None:
        if asked.cancelled():
            self._settle(batch, _Found([asyncio.CancelledError("the server ends")] * len(batch)), loop)
            return
        error = asked.exception()
        found = _Found([RuntimeError(f"a batch was lost: {error}")] * len(batch)) if error else asked.result()
        self._settle(batch, found, loop)

    def _settle(self, batch: list[_Waiting], found: _Found, loop: asyncio.AbstractEventLoop) -> None:
        for one, answers in zip(batch, found.each, strict=True):
            if not one.answer.done():  # else its time is over
                settle(one.answer, answers)
        self._settled(found.rows, found.answers)
        if self._waiting:
            loop.call_soon(self._ask, loop)
        else:
            self._asking = False

    def _gather(self) -> list[_Waiting]:
        """What waits and fits together: of one version, and not too many rows."""
        first = self._waiting.popleft()
        batch = [first]
        count, row_bytes = len(first.rows), first.rows.padded_row_bytes if self._waiting else 0
        while self._waiting and count < self._max_rows:
            more = self._waiting[0]
            count, row_bytes = count + len(more.rows), max(row_bytes, more.rows.padded_row_bytes)
            too_much = count > self._max_rows or count * row_bytes > MAX_ROW_BYTES  # one long row pads all the others
            if more.predictor is not first.predictor or too_much:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answers(self, batch: Sequence[_Waiting]) -> _Found:
        """Per request its predictions, or what its own rows made the model raise."""
        predictor = batch[0].predictor
        if len(batch) == 1:
            alone = self._alone(predictor, batch[0].rows)
            return _Found([alone], batch[0].rows, alone) if isinstance(alone, Answers) else _Found([alone])
        try:
            rows = Inputs.concat([one.rows for one in batch])
            together = predictor.answer(rows)
        except Exception:  # noqa: BLE001 - one client's rows must not fail the others: each is asked alone below
            return _Found([self._alone(predictor, one.rows) for one in batch])
        found, end = [], 0
        for one in batch:
            start, end = end, end + len(one.rows)
            found.append(together.part(slice(start, end)))
        return _Found(found, rows, together)

    def _alone(self, predictor: Predictor, rows: Inputs) -> Answers | Exception:
        """One request, in forwards of no more rows than a batch has, so that its memory is bounded too."""
        if len(rows) <= self._max_rows:
            try:
                return predictor.answer(rows)
            except Exception as error:  # noqa: BLE001 - handed to the caller; the loop must live
                return error
        found: list[Answers] = []
        for at in range(0, len(rows), self._max_rows):
            try:
                found.append(predictor.answer(rows.rows(slice(at, at + self._max_rows)), first=at))
            except Exception as error:  # noqa: BLE001 - handed to the caller; the loop must live
                return error
        return joined(found)


def joined(parts: Sequence[Answers]) -> Answers:
    """Of one request, answered piece by piece."""
    return Answers(
        np.concatenate([one.output for one in parts]), [prediction for one in parts for prediction in one.predictions]
    )


def settle(answer: asyncio.Future[Answers] | Waiter[Answers], found: Answers | BaseException) -> None:
    """The result of a future, or what it raises."""
    if isinstance(found, BaseException):
        answer.set_exception(found)
    else:
        answer.set_result(found)
