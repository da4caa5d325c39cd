"""What a server could not answer (5xx): counted, logged under an id of its own, kept for `/health`."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from mlratchet.models.moments import utc

logger = logging.getLogger(__name__)
KINDS_KEPT = 100  # errors whose traceback was logged once
QUIET_S = 10.0  # between two lines about a server that has no room
WORDS = 300  # characters of an error's own words


class Troubles:
    """Of one pipeline, or of a server's own pages. Nothing that a client sent is logged but as Python writes text, on
    one line."""

    def __init__(self, count: Callable[[str], None], *, clock: Callable[[], float] = time.time) -> None:
        """`count` is told the status of each."""
        self._counted, self._clock = count, clock
        self._kinds: set[str] = set()
        self._refused, self._untold, self._told_s = 0, 0, float("-inf")
        self._count = 0
        self._last: dict[str, Any] | None = None

    def failed(self, request_id: str, asked: str, version: str, error: Exception) -> None:
        """An error of ours or the model's: 500."""
        self._counted("500")
        self._count += 1
        kind = f"{type(error).__name__} at {place_of(error)}"
        self._last = {"request_id": request_id, "at": utc(self._clock()), "asked": asked, "error": type(error).__name__}
        new = kind not in self._kinds and len(self._kinds) < KINDS_KEPT
        self._kinds |= {kind} if new else set()
        words = repr(str(error)[:WORDS])
        logger.error("500 %s version %s, request %s: %s: %s", asked, version, request_id, kind, words,
                     exc_info=error if new else None)  # fmt: skip

    def unavailable(self, request_id: str, why: str) -> None:
        """A 503. Many come at once: one line, and later how many there were."""
        self._counted("503")
        self._refused += 1
        self._untold += 1
        now_s = self._clock()
        if now_s - self._told_s >= QUIET_S:
            logger.warning("503 for %d requests, newest %s: %s", self._untold, request_id, why[:WORDS])
            self._untold, self._told_s = 0, now_s

    def facts(self) -> dict[str, Any]:
        """For `/health`, since the start: how many errors, the newest without its words, how many answers of 503."""
        return {"count": self._count, "last": self._last, "unavailable": self._refused}


def place_of(error: Exception) -> str:
    """File and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "an unknown place"
