"""How many requests a server works on at once, and how many bytes they hold: beyond that it says when to ask again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlratchet.models.serving.refusal import BadRequestError

RETRY_AFTER_S = 1


class Admission:
    """Used by one event loop."""

    def __init__(self, *, max_requests: int, max_bytes: int) -> None:
        self.max_requests, self.max_bytes = max_requests, max_bytes
        self.requests = 0
        self.bytes = 0

    @contextmanager
    def arrival(self) -> Iterator[Held]:
        """A request from its first byte to its answer: whatever it holds is given back then."""
        mine = Held(self)
        try:
            yield mine
        finally:
            mine.give_back()

    def has(self, count: int) -> bool:
        """Whether a request of so many bytes would be let in now."""
        return self.requests < self.max_requests and (not self.bytes or self.bytes + count <= self.max_bytes)


class Held:
    """What one request holds: bytes from the first on, and a place once it is here whole. Whoever only sends a header
    takes no place: connections are bounded elsewhere."""

    def __init__(self, room: Admission) -> None:
        self._room = room
        self.bytes = 0
        self.waits = False

    def take(self, count: int) -> None:
        """Raises ``BadRequestError`` (503) when requests hold too many bytes already. A request alone is always let
        in: another limit says how large it may be."""
        room = self._room
        if room.bytes > self.bytes and room.bytes + count > room.max_bytes:
            raise full(f"{room.bytes} bytes of requests are waiting")
        room.bytes += count
        self.bytes += count

    def wait(self) -> None:
        """Take a place until the answer. Raises ``BadRequestError`` (503) when all are taken."""
        room = self._room
        if room.requests >= room.max_requests:
            raise full(f"{room.requests} requests are waiting")
        room.requests += 1
        self.waits = True

    def give_back(self) -> None:
        """All of it, once."""
        self._room.requests -= self.waits
        self._room.bytes -= self.bytes
        self.waits, self.bytes = False, 0


def full(words: str) -> BadRequestError:
    """The refusal of a server that has no room."""
    return BadRequestError("server", f"{words}; try again later", 503, retry_after_s=RETRY_AFTER_S)
