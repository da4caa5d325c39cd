"""The body of a request, as it arrives: within a size and a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mlratchet.models.serving.asked import ClientGoneError
from mlratchet.models.serving.refusal import BadRequestError
from starlette.types import Receive


def untold(size: int) -> None:
    """Where nobody counts bytes."""


class Body:
    """Reads one after the other, each for itself."""

    def __init__(self, *, max_bytes: int, within_s: float) -> None:
        self.max_bytes, self._within_s = max_bytes, within_s

    async def read(self, receive: Receive, take: Callable[[int], None] = untold) -> bytes:
        """All of it. `receive`: of ASGI; `take` is told of every stretch of bytes. Raises ``BadRequestError`` and
        ``ClientGoneError``."""
        try:
            async with asyncio.timeout(self._within_s):
                return await self._arriving(receive, take)
        except TimeoutError as error:
            raise BadRequestError("body", f"did not arrive within {self._within_s:g} s", 408) from error

    async def _arriving(self, receive: Receive, take: Callable[[int], None]) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            size += len(part)
            if size > self.max_bytes:
                raise BadRequestError("body", f"larger than {self.max_bytes} bytes", 413)
            take(len(part))
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)
