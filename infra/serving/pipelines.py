"""The pipelines of a server process: taken up and dropped as they are asked for, each followed on its own thread."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from mlratchet.infra.inference_log.client import LogClient
from mlratchet.infra.serving.memory import give_back
from mlratchet.infra.serving.requests import ServingRequest, ServingRequests
from mlratchet.models.serving.app import ServingApp
from mlratchet.models.serving.endpoint import Endpoint
from mlratchet.models.serving.follower import ChampionFollower
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.watch import ChainWatch

logger = logging.getLogger(__name__)
LOOK_S = 0.2  # between two looks at what is asked for, which are local
TURN_S = 60.0  # until the event loop has a turn for it

Follow = Callable[[str, Slot], ChampionFollower]


@dataclass
class ServedPipeline:
    """One of them."""

    request: ServingRequest
    slot: Slot
    follower: ChampionFollower
    thread: threading.Thread = field(init=False)

    def start(self) -> None:
        """A champion that does not load, or never ends loading, holds nobody else's up."""
        self.thread = threading.Thread(target=self.follower.run, name=f"follow-{self.request.pipeline}", daemon=True)
        self.thread.start()


class ServedPipelines:
    """Those of one process (`service`), on a thread that looks at what is asked for and at what moved."""

    def __init__(
        self,
        app: ServingApp,
        requests: ServingRequests,
        *,
        service: str,
        follow: Follow,
        watch: ChainWatch,
        log: LogClient | None = None,
    ) -> None:
        """`log`: None: nothing that is asked is written down."""
        self._app, self._requests, self._service = app, requests, service
        self._follow, self._watch, self._log = follow, watch, log
        self._served: dict[str, ServedPipeline] = {}
        self._ending: list[tuple[str, Future[None]]] = []  # who answers what is under way, and then nothing more
        self._lock = threading.Lock()  # of the list
        self.stopping = threading.Event()

    @property
    def ending(self) -> tuple[str, ...]:
        """Whose requests of before a change, or of before they were dropped, are still under way."""
        return tuple(name for name, _ in self._ending)

    def run(self, loop: asyncio.AbstractEventLoop, prepare: Callable[[], None]) -> None:
        """Until stopped. `prepare`: what is imported before the first pipeline is taken up."""
        prepare()
        next_tick = 0.0
        while not self.stopping.is_set():
            self.look(loop)
            self._app.starting = False
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + self._every_s()
                self.wake()
            self.stopping.wait(LOOK_S)
        for served in self._served.values():
            served.follower.stop()

    def wake(self) -> None:
        """Those whose chains moved."""
        try:
            for name in self._watch.tick(list(self._served)):
                self._served[name].follower.wake()
        except Exception:
            logger.exception("what moved cannot be seen; every pipeline is looked at in turn")

    def _every_s(self) -> float:
        """Seconds between two requests to the store: the shortest that a pipeline asks for."""
        return min((served.request.config.poll_seconds for served in self._served.values()), default=1.0)

    def look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take up what is asked for, drop what is not. Nobody waits for what is under way there: a client may take
        as long as `read_seconds`, and others are to be followed meanwhile."""
        self._look_at_endings()
        wanted = {one.pipeline: one for one in self._requests if one.process == self._service}
        for name in sorted(set(self._served) - set(wanted)):
            self._served.pop(name).follower.stop()
            self._in_loop(self._dropped(name), loop)
            logger.info("%s: is not served any more", name)
        for name, request in wanted.items():
            held = self._served.get(name)
            if held is None:
                slot = Slot()
                held = self._served[name] = ServedPipeline(request, slot, self._follow(name, slot))
                self._in_loop(self._taken_up(held), loop)
                held.start()
            elif held.request != request:
                held.request = request
                self._in_loop(self._taken_up(held), loop)

    async def _taken_up(self, served: ServedPipeline) -> Endpoint | None:
        """Under its configuration of now; who is answered under the one before is answered whole. The one before."""
        before = self._app.endpoints.get(served.request.pipeline)
        self._app.take_up(self._endpoint(served))
        return before

    async def _dropped(self, name: str) -> Endpoint | None:
        return self._app.drop(name)

    def _endpoint(self, served: ServedPipeline) -> Endpoint:
        name, slot, config = served.request.pipeline, served.slot, served.request.config
        shared: dict[str, Any] = {"metrics": self._app.metrics, "reload": served.follower.retry}
        if self._log is None or not config.log.enabled:
            return Endpoint(name, slot, config, **shared)
        log = self._log.take_up(name, config.log, lambda version: schema_in(slot, version), read_s=config.read_seconds)
        return Endpoint(name, slot, config, **shared, observer=log, log=log)

    def _in_loop(self, what: Coroutine[Any, Any, Endpoint | None], loop: asyncio.AbstractEventLoop) -> None:
        """`what` gives who answers no more requests than those that are under way."""

        async def turn() -> None:  # whole, also where the loop comes to it after we have ceased to wait
            before = await what
            if before is not None:
                ending = asyncio.run_coroutine_threadsafe(self._app.ended(before), loop)
                with self._lock:
                    self._ending.append((before.name, ending))

        try:
            asyncio.run_coroutine_threadsafe(turn(), loop).result(TURN_S)
        except Exception:
            logger.exception("a pipeline was taken up or dropped with trouble; the others are served")

    def _look_at_endings(self) -> None:
        """What has ended leaves memory."""
        with self._lock:
            over = [(name, one) for name, one in self._ending if one.done()]
            self._ending = [(name, one) for name, one in self._ending if not one.done()]
        for name, one in over:
            if not one.cancelled() and one.exception() is not None:
                logger.error("%s ended with trouble; the others are served", name, exc_info=one.exception())
        if any(name not in self._served for name, _ in over):
            give_back()


def schema_in(slot: Slot, version: int) -> str | None:
    """The schema of a version that is loaded, as JSON; None where it takes something else than examples."""
    for predictor in (slot.current, slot.canary, slot.shadow, slot.previous):
        if predictor is not None and predictor.version == version:
            example = predictor.signature.input.example
            return example.schema if example is not None else None
    return None
