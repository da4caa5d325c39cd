"""What a server serves of one pipeline now, and why it does not serve something newer."""

from __future__ import annotations

import time

from mlratchet.models.serving.predictor import Predictor


class Slot:
    """Each change is one assignment: no request sees half of it."""

    def __init__(self) -> None:
        self.current: Predictor | None = None  # the champion
        self.previous: Predictor | None = None  # the champion before, loaded and warm: a way back in an instant
        self.canary: Predictor | None = None  # answers a share
        self.shadow: Predictor | None = None  # is asked, and not listened to
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

    @property
    def version(self) -> str:
        """Who answers, for headers and labels."""
        return str(self.current.version) if self.current is not None else "none"
