"""How many requests a server works on at once, and how many bytes they hold: beyond that it says when to ask again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlratchet.models.serving.refusal import BadRequestError

RETRY_AFTER_S = 1


class Admission:
    """Used by one event loop."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self._max_requests, self._max_bytes = max_requests, max_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def place(self) -> Iterator[Held]:
        """A request's place until it is answered. Raises ``BadRequestError`` (503) when all are taken."""
        if self.requests >= self._max_requests:
            raise full(f"{self.requests} requests are waiting")
        self.requests += 1
        mine = Held(self)
        try:
            yield mine
        finally:
            self.requests -= 1
            self.bytes -= mine.bytes

    def take(self, count: int) -> None:
        """Raises ``BadRequestError`` (503) when requests hold too much already. A request alone is always let in:
        another limit says how large it may be."""
        if self.requests > 1 and self.bytes + count > self._max_bytes:
            raise full(f"{self.bytes} bytes of requests are waiting")
        self.bytes += count


class Held:
    """What one request holds."""

    def __init__(self, room: Admission) -> None:
        self._room = room
        self.bytes = 0

    def take(self, count: int) -> None:
        """Raises as `Admission.take`."""
        self._room.take(count)
        self.bytes += count


def full(words: str) -> BadRequestError:
    """The refusal of a server that has no room."""
    return BadRequestError("server", f"{words}; try again later", 503, retry_after_s=RETRY_AFTER_S)
