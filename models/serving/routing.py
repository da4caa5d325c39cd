"""Who answers a request: the champion, or for a sticky share of the clients the candidate in its canary.

A client is a point between 0 and 1, a hash of its key and of the candidate's work: below the share it is answered by
the candidate. So whoever was among the first 5 % is among the 25 %, every server gives the same answer, and another
candidate takes other clients.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Protocol

from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot

VariantName = Literal["champion", "canary", "shadow"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One of the versions that clients are answered by, and the name that logs and metrics know it under."""

    name: VariantName
    predictor: Predictor


class Router(Protocol):
    """Asked once per request, on the event loop: it neither waits nor raises."""

    def route(self, request_key: str | None) -> Variant | None:
        """Who answers a request of this key (None: the champion's); None while nothing is served."""
        ...

    def shadow(self) -> Predictor | None:
        """Who is asked too without being listened to; None: nobody."""
        ...


def place_of(client: str, salt: str) -> float:
    """Of a client, in [0, 1)."""
    found = hashlib.blake2b(client.encode("utf-8", "replace"), digest_size=8, key=salt.encode()[:64])
    return int.from_bytes(found.digest(), "big") / 2**64


def in_share(client: str, salt: str, share: float) -> bool:
    """Whether a client is given to the candidate."""
    return share > 0 and place_of(client, salt) < share


class BesideRouter:
    """Follows the slot: the champion, beside it a candidate's share, and its shadow."""

    def __init__(self, slot: Slot) -> None:
        self._slot = slot
        self._champion: Variant | None = None
        self._canary: Variant | None = None

    def route(self, request_key: str | None) -> Variant | None:
        """See the port."""
        current, beside = self._slot.current, self._slot.beside
        if self._champion is None or self._champion.predictor is not current:
            self._champion = Variant("champion", current) if current is not None else None
        if beside is None or request_key is None or not in_share(request_key, beside.salt, beside.share):
            return self._champion
        if self._canary is None or self._canary.predictor is not beside.predictor:
            self._canary = Variant("canary", beside.predictor)
        return self._canary

    def shadow(self) -> Predictor | None:
        """See the port."""
        beside = self._slot.beside
        return beside.predictor if beside is not None and beside.shadow else None
