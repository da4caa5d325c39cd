"""Micro-batching without waiting: what arrives while a batch is computed is the next batch."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.serving.predictor import Predictor


@dataclass(frozen=True, eq=False)
class _Waiting:
    rows: np.ndarray[Any, Any]
    predictor: Predictor
    answer: asyncio.Future[list[dict[str, Any]]]


class Batcher:
    """One forward at a time, on a thread of its own. A request is answered by the version that parsed it."""

    def __init__(self, *, max_batch_rows: int) -> None:
        self._max_rows = max_batch_rows
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="forward")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """In the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer what is queued, then end."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown()

    async def predict(self, predictor: Predictor, rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
        """The predictions of one request's rows."""
        answer: asyncio.Future[list[dict[str, Any]]] = asyncio.get_running_loop().create_future()
        await self._queue.put(_Waiting(rows, predictor, answer))
        return await answer

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        held: _Waiting | None = None
        while True:
            batch = [held or await self._queue.get()]
            held = None
            count = len(batch[0].rows)
            while not self._queue.empty() and count < self._max_rows:
                more = self._queue.get_nowait()
                if more.predictor is not batch[0].predictor or count + len(more.rows) > self._max_rows:
                    held = more  # another version, or too many rows: first of the next batch
                    break
                batch.append(more)
                count += len(more.rows)
            rows = np.concatenate([one.rows for one in batch]) if len(batch) > 1 else batch[0].rows
            try:
                predictions = await loop.run_in_executor(self._thread, batch[0].predictor.predict, rows)
            except Exception as error:  # noqa: BLE001 - handed to the callers; the loop must live
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
            else:
                at = 0
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_result(predictions[at : at + len(one.rows)])
                    at += len(one.rows)
            for _ in batch:
                self._queue.task_done()
