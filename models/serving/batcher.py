"""Micro-batching without waiting: what arrives while a batch is computed is the next batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from mlratchet.models.serving.asked import ClientGoneError
from mlratchet.models.serving.deadline import NEVER, overdue
from mlratchet.models.serving.predictor import Answers, Predictor
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES
from mlratchet.models.tensors.named import Inputs

LONG_S = 0.05  # who waited longer may be gone: it costs more to ask than to compute most requests


def here() -> bool:
    """The client that is always there."""
    return False


@dataclass(frozen=True, eq=False)
class _Waiting:
    rows: Inputs
    predictor: Predictor
    answer: asyncio.Future[Answers]
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
    """One forward at a time, on a thread of its own. A request is answered by the version that parsed it, and what it
    makes the model do is its own affair: a batch that fails is computed again, request by request."""

    def __init__(self, *, max_batch_rows: int, threads: int = 1) -> None:
        """`threads`: intra-op threads of a forward; torch counts them by the thread that asks."""
        self._max_rows = max_batch_rows
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()  # bounded by who lets requests in (`admission.py`)
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="forward", initializer=torch.set_num_threads, initargs=(threads,)
        )
        self._task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Answer what is queued, then end."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown()

    async def predict(
        self, predictor: Predictor, rows: Inputs, *, until_s: float = NEVER, is_gone: Callable[[], bool] = here
    ) -> Answers:
        """The answers to one request's rows. Raises what the model raises for them. Starts with the first request, in
        its event loop.

        `until_s`: after it (the event loop's time), and once the client `is_gone`, what still waits is not computed:
        ``BadRequestError`` (504) or ``ClientGoneError``."""
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        answer: asyncio.Future[Answers] = loop.create_future()
        await self._queue.put(_Waiting(rows, predictor, answer, loop.time(), until_s, is_gone))
        return await answer

    async def _run(self) -> None:
        held: list[_Waiting] = []
        while True:
            held = await self._answer(held or [await self._queue.get()])

    async def _answer(self, batch: list[_Waiting]) -> list[_Waiting]:
        """What waits and fits is answered with the first of `batch`; returns what begins the next. A method of its own,
        so that no variable keeps a version alive that was swapped out while nobody asks."""
        held = self._gather(batch)
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        wanted = [one for one in batch if one.is_wanted(now_s)]
        found = await loop.run_in_executor(self._thread, self._answers, wanted) if wanted else []
        for one, answers in zip(wanted, found, strict=True):
            if not one.answer.done():  # else its time is over
                settle(one.answer, answers)
        for _ in batch:
            self._queue.task_done()
        return held

    def _gather(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Add what waits and fits; returns the one that does not: another version's, or too many rows."""
        if self._queue.empty():
            return []
        count, row_bytes = len(batch[0].rows), batch[0].rows.padded_row_bytes
        while not self._queue.empty() and count < self._max_rows:
            more = self._queue.get_nowait()
            count, row_bytes = count + len(more.rows), max(row_bytes, more.rows.padded_row_bytes)
            too_much = count > self._max_rows or count * row_bytes > MAX_ROW_BYTES  # one long row pads all the others
            if more.predictor is not batch[0].predictor or too_much:
                return [more]
            batch.append(more)
        return []

    def _answers(self, batch: Sequence[_Waiting]) -> list[Answers | Exception]:
        """Per request its predictions, or what its own rows made the model raise."""
        predictor = batch[0].predictor
        if len(batch) > 1:
            try:
                together = predictor.answer(Inputs.concat([one.rows for one in batch]))
            except Exception:  # noqa: BLE001 - one client's rows must not fail the others: each is asked alone below
                return [self._alone(predictor, one.rows) for one in batch]
            ends = np.cumsum([len(one.rows) for one in batch])
            return [together.part(slice(end - len(one.rows), end)) for one, end in zip(batch, ends, strict=True)]
        return [self._alone(predictor, batch[0].rows)]

    def _alone(self, predictor: Predictor, rows: Inputs) -> Answers | Exception:
        """One request, in forwards of no more rows than a batch has, so that its memory is bounded too."""
        found: list[Answers] = []
        for at in range(0, len(rows), self._max_rows):
            try:
                found.append(predictor.answer(rows.rows(slice(at, at + self._max_rows)), first=at))
            except Exception as error:  # noqa: BLE001 - handed to the caller; the loop must live
                return error
        return found[0] if len(found) == 1 else joined(found)


def joined(parts: Sequence[Answers]) -> Answers:
    """Of one request, answered piece by piece."""
    return Answers(
        np.concatenate([one.output for one in parts]), [prediction for one in parts for prediction in one.predictions]
    )


def settle(answer: asyncio.Future[Answers], found: Answers | Exception) -> None:
    """The result of a future, or what it raises."""
    if isinstance(found, Exception):
        answer.set_exception(found)
    else:
        answer.set_result(found)
