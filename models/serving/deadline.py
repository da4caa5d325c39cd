"""Until when a client wants its answer: a request whose time is over is not computed."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mlratchet.models.serving.refusal import BadRequestError

HEADER = "x-timeout-ms"
LONGEST_MS = 3_600_000
WHOLE = re.compile(r"[0-9]{1,9}\Z")
NEVER = math.inf
OVERDUE = 504


def timeout_s(told: str | None) -> float | None:
    """Of the header, in seconds; None where a client sends none. Raises ``BadRequestError``."""
    if told is None:
        return None
    milliseconds = int(told) if WHOLE.match(told) else 0
    if not 1 <= milliseconds <= LONGEST_MS:
        raise BadRequestError(HEADER, f"got {told[:20]!r}, expected 1 to {LONGEST_MS} milliseconds")
    return milliseconds / 1e3


def overdue(seconds: float) -> BadRequestError:
    """What is answered then."""
    return BadRequestError(HEADER, f"no answer within {seconds * 1e3:g} ms", OVERDUE)


@asynccontextmanager
async def within(seconds: float | None, spent_s: float) -> AsyncIterator[float]:
    """Until when the inside may take, in the event loop's time. `spent_s`: of the time before. Raises
    ``BadRequestError`` (504) as soon as it is over, whatever the inside waits for."""
    if seconds is None:
        yield NEVER
        return
    until_s = asyncio.get_running_loop().time() + seconds - spent_s
    try:
        async with asyncio.timeout_at(until_s) as limit:
            yield until_s
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise overdue(seconds) from error
