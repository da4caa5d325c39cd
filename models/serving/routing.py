"""Who answers a request: the champion, or a canary that takes a share of the requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot

VariantName = Literal["champion", "canary"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the versions that clients are answered by, and the name that logs and metrics know it under."""

    name: VariantName
    predictor: Predictor


class Router(Protocol):
    """Asked once per request, on the event loop: it neither waits nor raises."""

    def route(self, request_key: str | None) -> Variant | None:
        """Who answers a request of this key (None: it named none); None while nothing is served."""
        ...

    def shadow(self) -> Predictor | None:
        """Who is asked too without being listened to; None: nobody."""
        ...


class ChampionOnly:
    """Every request is the champion's, nothing is asked twice."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._variant: Variant | None = None

    def route(self, request_key: str | None) -> Variant | None:  # noqa: ARG002 - as the port says it
        """See the port."""
        current = self._slot.current
        if self._variant is None or self._variant.predictor is not current:
            self._variant = Variant("champion", current) if current is not None else None
        return self._variant

    def shadow(self) -> Predictor | None:
        """See the port."""
        return None
