"""One pipeline's part of a server: what is answered below `/NAME`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from mlratchet.models.serving.admission import RETRY_AFTER_S
from mlratchet.models.serving.answering import Answering, version_header
from mlratchet.models.serving.asked import Asked, read_already
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.docs_page import files, page
from mlratchet.models.serving.explaining.answering import Explaining
from mlratchet.models.serving.feedback import FEEDBACK, Feedback, LabelSink
from mlratchet.models.serving.metrics import Metrics, PipelineMetrics
from mlratchet.models.serving.observing import Observer
from mlratchet.models.serving.openapi import openapi
from mlratchet.models.serving.reply import Headers, Line, Reply, json_reply
from mlratchet.models.serving.routing import BesideRouter, Router
from mlratchet.models.serving.shadow import Shadow
from mlratchet.models.serving.slot import Slot
from mlratchet.models.serving.troubles import Troubles
from mlratchet.models.serving.try_it.form import form_of
from mlratchet.models.serving.try_it.page import try_files, try_page
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)
POLL_S = 0.02  # between two looks at what is under way
PREDICT, EXPLAIN, RELOAD = "/predict", "/explain", "/reload"
Page = Callable[[Request], Awaitable[ASGIApp]]


class EndpointLog(LabelSink, Protocol):
    """The inference log of one pipeline, as its endpoint knows it."""

    @property
    def lost(self) -> int:
        """Answers that are in no file, since this process started."""
        ...

    def facts(self) -> dict[str, Any]:
        """For `/health`."""
        ...


class Endpoint:
    """One pipeline: a queue, a room, threads and troubles of its own."""

    def __init__(
        self,
        name: str,
        slot: Slot,
        config: ServingConfig,
        *,
        metrics: Metrics,
        router: Router | None = None,
        observer: Observer | None = None,
        log: EndpointLog | None = None,
        reload: Callable[[], None] | None = None,
    ) -> None:
        """`router`: None: the champion and what is beside it in the slot; `observer`: is told of every answer, and of
        what the shadow says; None: nobody is; `log`: where answers and labels are kept; `reload`: has the ledger
        looked at now, whatever could not be loaded a moment ago."""
        self.name, self.slot, self.config = name, slot, config
        self._under_way = 0
        counts = PipelineMetrics(metrics, name)
        self.troubles = Troubles(counts.error)
        self._shadow = Shadow(slot, observer) if observer is not None else None
        self._answering = Answering(
            name, config, router=router or BesideRouter(slot), metrics=counts, troubles=self.troubles,
            observer=self._shadow,
        )  # fmt: skip
        self._explaining = Explaining(name, self._answering)
        self._log = log
        if log is not None:
            counts.tell_log(lost=lambda: log.lost)
        counts.tell(version=lambda: slot.current.version if slot.current else 0, waiting=lambda: self.waiting)
        self.pages: Mapping[tuple[str, str], Page] = {
            ("GET", "/health"): self.health,
            ("GET", "/ready"): self.ready,
            ("GET", "/openapi.json"): self.description,
            ("GET", "/docs"): self.docs,
            ("GET", "/"): self.try_it,
            ("GET", "/try/form.json"): self.form,
            ("POST", EXPLAIN): self.explain,
            **{("GET", path): file for path, file in try_files().items()},
            **{("GET", path): file for path, file in files().items()},
        }
        """Method and path below the pipeline's -> who answers. `/predict` is not among them."""
        if log is not None:
            self.pages = {**self.pages, ("POST", FEEDBACK): Feedback(log, read_s=config.read_seconds)}
        self._reload = reload
        if reload is not None:
            self.pages = {**self.pages, ("POST", RELOAD): self.reload}

    @property
    def waiting(self) -> int:
        """Requests that are here whole and wait for their answer."""
        return self._answering.room.requests

    async def close(self) -> None:
        """Answer what is under way, then end."""
        while self._under_way:
            await asyncio.sleep(POLL_S)
        self._explaining.close()
        await self._answering.close()
        if self._shadow is not None:
            await asyncio.to_thread(self._shadow.close)

    async def predict(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """Answer one request, and tell who observes."""
        asked = Asked(scope, receive, request_id)
        self._under_way += 1
        try:
            try:
                reply = await self._answering.answer(asked)
            finally:
                self._answering.observe(asked)  # before anybody has the answer: what was answered is logged or counted
            await reply(scope, receive, send)
        finally:
            self._under_way -= 1

    def predict_at_once(self, scope: Scope, body: bytes, line: Line, request_id: str, added: Headers) -> bool:
        """As `predict`, for a request that is here whole; `added`: headers of its answer. False: nothing has happened,
        and `predict` is to be asked."""
        asked = Asked(scope, read_already, request_id)

        def send(reply: Reply) -> None:
            try:
                line.answer(reply, added)
            except Exception:  # others are told after this one
                logger.exception("%s: the answer to request %s was not sent", self.name, request_id)
            finally:
                self._under_way -= 1

        taken = self._answering.answer_at_once(asked, body, line.is_gone, send)
        self._under_way += taken
        return taken

    async def explain(self, request: Request) -> ASGIApp:
        """Why one example is answered as it is."""
        asked = Asked(request.scope, request.receive, request.state.request_id, EXPLAIN)
        self._under_way += 1
        try:
            return await self._explaining.reply(asked)
        finally:
            self._under_way -= 1

    async def try_it(self, _: Request) -> ASGIApp:
        """A page with a form of its fields."""
        return try_page(self.name)

    async def form(self, _: Request) -> ASGIApp:
        """What that form is made of."""
        return json_reply(
            form_of(self.name, self.slot.current, self.config.form), 200, [version_header(self.slot.version)]
        )

    def facts(self) -> dict[str, Any]:
        """What is served, why a newer champion could not be loaded, and what went wrong."""
        current = self.slot.current
        return {
            "pipeline": self.name,
            "version": current.version if current else None,
            "generation": current.generation if current else None,
            "load_error": self.slot.load_error,
            "next_try_in_s": self.slot.next_try_in_s,
            "beside": self.slot.beside_facts(),
            "server_errors": self.troubles.facts(),
            **({"log": self._log.facts()} if self._log is not None else {}),
        }

    @property
    def why_not_ready(self) -> str:
        """Empty once a champion is loaded."""
        return "" if self.slot.current is not None else self.slot.load_error or "no champion yet"

    async def health(self, _: Request) -> ASGIApp:
        """Alive, and the facts."""
        return json_reply(self.facts(), 200, [version_header(self.slot.version)])

    async def ready(self, _: Request) -> ASGIApp:
        """200 once a champion is loaded."""
        current = self.slot.current
        if current is None:
            headers = [version_header("none"), (b"retry-after", b"%d" % RETRY_AFTER_S)]
            return json_reply({"ready": False, "reason": self.why_not_ready}, 503, headers)
        behind = {"behind": self.slot.load_error} if self.slot.load_error else {}
        return json_reply(
            {"ready": True, "version": current.version, **behind}, 200, [version_header(self.slot.version)]
        )

    async def description(self, _: Request) -> ASGIApp:
        """OpenAPI."""
        current = self.slot.current
        signature, schema = (current.signature, current.answer_schema) if current else (None, None)
        also = {path for path in (FEEDBACK, RELOAD) if ("POST", path) in self.pages}
        return json_reply(openapi(self.name, signature, self.config, schema, also=also))

    async def reload(self, _: Request) -> ASGIApp:
        """Look at the ledger now: who mended what kept a champion from being loaded need not wait for the next try."""
        assert self._reload is not None, "the page is there only with it"
        self._reload()
        return json_reply({"version": self.slot.current.version if self.slot.current else None, "looking": True}, 202)

    async def docs(self, _: Request) -> ASGIApp:
        """The description for people."""
        return page(f"{self.name}, version {self.slot.version}")
