"""The road of a request to `/explain`: read and prepared as for `/predict`, explained on a thread of its own."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from mlratchet.models.serving.admission import full
from mlratchet.models.serving.answering import TIMEOUT, Answering, version_header
from mlratchet.models.serving.aside import aside
from mlratchet.models.serving.asked import Asked
from mlratchet.models.serving.deadline import timeout_s, within
from mlratchet.models.serving.explaining.explanation import Json, explanation
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.reply import Reply, json_reply

MOST_AT_ONCE = 4  # that wait: each asks the model some hundred times, and predictions come first
LONGEST_S = 30.0


class Explaining:
    """Of one pipeline."""

    def __init__(self, name: str, answering: Answering) -> None:
        self._answering = answering
        self._name = name
        self._waiting = 0
        self._thread: ThreadPoolExecutor | None = None  # from the first request on

    async def reply(self, asked: Asked) -> Reply:
        """The explanation of one example; 4xx names the field."""
        return await self._answering.replied(asked, self._reply)

    def close(self) -> None:
        """End; an explanation that nobody waits for any more ends by itself."""
        if self._thread is not None:
            self._thread.shutdown(wait=False)

    async def _reply(self, asked: Asked) -> Reply:
        asked.variant = self._answering.routed(asked)
        seconds = min(timeout_s(asked.header(TIMEOUT)) or LONGEST_S, LONGEST_S)
        self._refuse_where_full()
        with self._answering.room.arrival() as held:
            async with within(seconds, time.perf_counter() - asked.began):
                predictor = await self._answering.read(asked, held)
                assert asked.rows is not None, "they were read"
                if len(asked.rows) != 1:
                    raise BadRequestError("instances", f"got {len(asked.rows)}, expected one to explain")
                self._refuse_where_full()  # who only begins to send takes nobody's place
                self._waiting += 1
                try:
                    found = await self._explained(asked)
                finally:
                    self._waiting -= 1
        asked.status = 200
        return json_reply(found, 200, [version_header(str(predictor.version))])

    def _refuse_where_full(self) -> None:
        if self._waiting >= MOST_AT_ONCE:
            raise full(f"{self._waiting} requests for an explanation are waiting")

    async def _explained(self, asked: Asked) -> Json:
        """On the thread, which stops as soon as nobody waits for it."""
        assert asked.variant is not None, "it was routed"
        assert asked.rows is not None, "they were read"
        if self._thread is None:
            self._thread = ThreadPoolExecutor(
                1,
                thread_name_prefix=f"explain-{self._name}",
                initializer=torch.set_num_threads,
                initargs=(self._answering.threads,),
            )
        over = False
        work = partial(explanation, asked.variant.predictor, asked.instances, asked.rows, lambda: not over)
        try:
            return await aside(self._thread, work, asked.is_gone)
        finally:
            over = True
