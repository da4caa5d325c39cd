"""What a server serves of one pipeline now, and why it does not serve something newer."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from mlratchet.models.serving.predictor import Predictor

SHADOW_S = 30.0  # seconds that a candidate in the shadow may take for one request


@dataclass(frozen=True, kw_only=True, eq=False)
class Beside:
    """A candidate that is loaded beside the champion, and what it may do."""

    predictor: Predictor
    share: float  # of the clients, 0 to 1
    shadow: bool  # is asked what the champion is asked, and not listened to
    salt: str  # of the hash of a client's key
    expires_s: float  # seconds since the epoch
    record: str  # digest of the canary record that says so


class Slot:
    """Each change is one assignment: no request sees half of it."""

    def __init__(self) -> None:
        self.current: Predictor | None = None  # the champion
        self.previous: Predictor | None = None  # the champion before, loaded and warm: a way back in an instant
        self.beside: Beside | None = None  # a candidate in its shadow or canary
        self.beside_error: str = ""  # why a canary record is not followed
        self.shadowing = threading.Lock()  # held while the shadow asks the candidate
        self.load_error: str = ""
        self.next_try_at: float | None = None  # by the monotonic clock, after a champion that could not be loaded

    def swap(self, predictor: Predictor) -> None:
        """Requests that are routed from now on are answered by `predictor`."""
        if self.current is not None:
            self.previous = self.current
        self.current = predictor
        self.put_right()

    def put_right(self) -> None:
        """What was wrong is not any more."""
        self.load_error, self.next_try_at = "", None

    @property
    def next_try_in_s(self) -> float | None:
        """Seconds until a champion that could not be loaded is tried again."""
        at = self.next_try_at
        return round(max(0.0, at - time.monotonic()), 1) if at is not None else None

    def put_beside(self, beside: Beside | None) -> None:
        """From now on. What is taken away is gone at once; what comes waits for the request that the shadow is at,
        because one thread at a time asks a predictor. Raises ``TimeoutError`` where that one does not end."""
        if beside is None:
            self.beside = None
            return
        if not self.shadowing.acquire(timeout=SHADOW_S):
            self.beside = None
            raise TimeoutError(f"version {beside.predictor.version} has not answered in the shadow for {SHADOW_S:g} s")
        try:
            self.beside = beside
        finally:
            self.shadowing.release()

    @property
    def canary(self) -> Predictor | None:
        """Who answers a share of the clients, or None."""
        beside = self.beside
        return beside.predictor if beside is not None and beside.share > 0 else None

    @property
    def shadow(self) -> Predictor | None:
        """Who is asked and not listened to, or None."""
        beside = self.beside
        return beside.predictor if beside is not None and beside.shadow else None

    @property
    def version(self) -> str:
        """Who answers, for headers and labels."""
        return str(self.current.version) if self.current is not None else "none"
