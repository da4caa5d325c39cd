"""What is done for a request on a thread: dropped where nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mlratchet.models.serving.asked import ClientGoneError

Result = TypeVar("Result")
LOOK_S = 0.1  # between two looks at whether the client is there: it costs more to ask than most of what is done


async def aside(thread: ThreadPoolExecutor, work: Callable[[], Result], is_gone: Callable[[], bool]) -> Result:
    """What `work` gives. Raises what it raises, and ``ClientGoneError`` once the client `is_gone`; what has not begun
    by then, or when whoever asks is cancelled, never does."""
    doing = asyncio.get_running_loop().run_in_executor(thread, work)
    try:
        while not (await asyncio.wait({doing}, timeout=LOOK_S))[0]:
            if is_gone():
                raise ClientGoneError
        return doing.result()
    finally:
        doing.cancel()
