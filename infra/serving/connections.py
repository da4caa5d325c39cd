"""How a server speaks HTTP: uvicorn on httptools and uvloop, and an end to connections that do not come to the point,
as a header that does not arrive or an answer that nobody reads.

uvicorn ends a connection that is idle after an answer, and no other; the time of a body is the application's affair.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from mlratchet.infra.serving.at_once import AtOnceProtocol
from starlette.types import ASGIApp

UNREAD_S = 30.0  # how long an answer may wait for a client that does not read
MOST_CONNECTIONS = 4096  # beyond it the answer is 503, whichever pipeline is asked
OTHER_FILES = 256  # of a process, beside its connections
MOST_HEADER_BYTES = 32_768
NO_ROOM = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class HeaderTooLongError(ValueError):
    """Of a request; its connection ends."""


class Punctual(AtOnceProtocol):
    """One connection."""

    header_s: Callable[[], float]
    most: int

    _header_timer: asyncio.TimerHandle | None = None
    _unread_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0  # of the fields that are whole
    _fed_bytes = 0  # that came after its first
    _header_open = False  # begun, and not whole

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn says it
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(NO_ROOM)
            transport.close()
            self._look_at_end()
            return
        self._header_timer = self.loop.call_later(self.header_s(), self._end)

    def data_received(self, data: bytes) -> None:
        if self._header_open:  # of a line that does not end, the parser tells nothing
            self._fed_bytes += len(data)
            if self._fed_bytes > MOST_HEADER_BYTES:
                self.send_400_response("The header is too long.")
                return
        super().data_received(data)
        if self._header_open or self.cycle is None or self.cycle.response_complete:  # what came is no whole header
            if self._header_timer is None:
                self._header_timer = self.loop.call_later(self.header_s(), self._end)
        elif self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._header_open, self._header_bytes, self._fed_bytes = True, 0, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._header_open:  # what comes behind a body in chunks is no header, whenever it comes
            super().on_header(name, value)
        self._count(len(name) + len(value))

    def on_headers_complete(self) -> None:
        self._header_open = False
        super().on_headers_complete()

    def _count(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > MOST_HEADER_BYTES:
            raise HeaderTooLongError  # the parser ends with it, and uvicorn answers 400

    def connection_lost(self, exc: Exception | None) -> None:
        stop(self._header_timer)
        stop(self._unread_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._wait_for_reader()

    def resume_writing(self) -> None:
        if not self.transport.is_closing():  # else the rest has to be read, too
            stop(self._unread_timer)
            self._unread_timer = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look_at_end()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._look_at_end()

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._look_at_end()

    def shutdown(self) -> None:
        super().shutdown()
        self._look_at_end()

    def _look_at_end(self) -> None:
        """A connection that is being closed stays until all was read, of which nobody tells where it is little."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._wait_for_reader()

    def _wait_for_reader(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self.loop.call_later(UNREAD_S, self._end)

    def _end(self) -> None:
        self.transport.abort()


def with_deadline(header_s: Callable[[], float], most: int) -> type[Punctual]:
    """The protocol of a server that waits so many seconds for a header, and has so many connections at most: who has
    one is answered, however many others there are (uvicorn's own limit refuses requests of all)."""
    return type("PunctualHere", (Punctual,), {"header_s": staticmethod(header_s), "most": most})


Files = tuple[Path | None, Path | None]


def configured(
    app: ASGIApp, *, host: str, port: int, header_s: Callable[[], float], tls: Files | None = None
) -> uvicorn.Config:
    """uvicorn, as a server of ours runs it at one address. `tls`: files of its certificate and key; the application
    lives as long as the address without."""
    certificate, key = tls or (None, None)
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=with_deadline(header_s, most_connections()),
        ws="none",
        proxy_headers=False,  # nobody in front of it is believed
        server_header=False,
        date_header=False,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=10,
        lifespan="off" if tls else "on",  # of one application: once
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """To its end, on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def most_connections() -> int:
    """As many as the process may have open: its limit of files is raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(MOST_CONNECTIONS, most - OTHER_FILES))


def stop(timer: asyncio.TimerHandle | None) -> None:
    """It will not ring."""
    if timer is not None:
        timer.cancel()
