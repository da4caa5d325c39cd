"""Connections that do not come to the point are ended: a header that does not arrive, an answer that nobody reads.

uvicorn ends a connection that is idle after an answer, and no other; the time of a body is the application's affair.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

UNREAD_S = 30.0  # how long an answer may wait for a client that does not read
MOST_CONNECTIONS = 4096  # beyond it the answer is 503, whichever pipeline is asked
OTHER_FILES = 256  # of a process, beside its connections
MOST_HEADER_BYTES = 32_768


def with_deadline(header_s: Callable[[], float]) -> type[H11Protocol]:
    """The protocol of a server that waits so many seconds for a header."""

    class Punctual(H11Protocol):
        """One connection."""

        _header_timer: asyncio.TimerHandle | None = None
        _unread_timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn says it
            super().connection_made(transport)
            self._header_timer = self.loop.call_later(header_s(), self._end)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            waiting = self.conn.their_state is h11.IDLE  # what came is no whole header
            if waiting and self._header_timer is None:
                self._header_timer = self.loop.call_later(header_s(), self._end)
            elif not waiting:
                stop(self._header_timer)
                self._header_timer = None

        def connection_lost(self, exc: Exception | None) -> None:
            stop(self._header_timer)
            stop(self._unread_timer)
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._unread_timer = self.loop.call_later(UNREAD_S, self._end)

        def resume_writing(self) -> None:
            stop(self._unread_timer)
            super().resume_writing()

        def _end(self) -> None:
            self.transport.abort()

    return Punctual


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
