"""Requests that are here whole, answered without ASGI: neither a task nor a future for each, and one write.

What the application does not take over goes uvicorn's way, as does a request whose body comes after its header.
"""

from __future__ import annotations

import logging
from typing import Any

from mlratchet.infra.serving.one_protocol import OneProtocol
from mlratchet.models.serving.reply import Headers, Reply
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class AtOnceProtocol(OneProtocol):
    """One connection. An application with `answer_at_once` is asked by that first."""

    _feeding = False  # what came is being parsed
    _begun: tuple[RequestResponseCycle, Any] | None = None  # a request whose header came with it
    _under_way: RequestResponseCycle | None = None  # whose turn it is; uvicorn's `cycle` is the one that came last

    def data_received(self, data: bytes) -> None:
        """As uvicorn's."""
        self._feeding = True
        try:
            super().data_received(data)
        finally:
            self._feeding = False
        if self._begun is not None:
            begun, self._begun = self._begun, None
            self._start(*begun)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's; that nobody waits any more is told to the request whose turn it is, too."""
        if self._under_way is not None and not self._under_way.response_complete:
            self._under_way.disconnected = True
            self._under_way.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._feeding:  # its body may come with its header
            self._begun = cycle, app
        else:
            self._start(cycle, app)

    def _start(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._under_way = cycle
        waits = cycle.more_body or cycle.waiting_for_100_continue or self.flow.write_paused
        waits = waits or cycle.disconnected or self.transport.is_closing()
        if waits or not _is_taken_over(cycle, app):
            super()._start_asgi_task(cycle, app)


def _is_taken_over(cycle: RequestResponseCycle, app: Any) -> bool:
    """Whether the application answers the request itself; not where that goes wrong, which ASGI tells."""
    at_once = getattr(app, "answer_at_once", None)
    if at_once is None:
        return False
    try:
        return bool(at_once(cycle.scope, bytes(cycle.body), WholeRequest(cycle)))
    except Exception:
        logging.getLogger(__name__).exception("a request was not answered at once; it is asked by ASGI")
        return cycle.response_started


class WholeRequest:
    """A request that is here whole, and its connection."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def is_gone(self) -> bool:
        """See `Line`."""
        return self._cycle.disconnected

    def answer(self, reply: Reply, added: Headers) -> None:
        """See `Line`. The same bytes as ASGI's two messages become, in one."""
        cycle = self._cycle
        if cycle.disconnected or cycle.response_started:
            return
        parts = [STATUS_LINE[reply.status]]
        for name, value in (*cycle.default_headers, *reply.headers, *added):
            parts += name, b": ", value, b"\r\n"
            if name == b"connection":  # of ours there is one kind: close
                cycle.keep_alive = False
        if not cycle.keep_alive and (b"connection", b"close") not in reply.headers:
            parts.append(b"connection: close\r\n")
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(b"".join((*parts, b"\r\n", reply.body)))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
