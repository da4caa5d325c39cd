"""One-time links and browser sessions, signed with a key that lives as long as the stack runs.

A link is made by whoever can read the key (`ratchet open`), and the service takes it once; what the browser then holds
is a cookie that ends with the stack. The password itself never reaches a browser, a link or an argument list.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from mlratchet.infra.machine.atomic import write_private

LINK_S = 120.0  # seconds in which a link can be used
SESSION_S = 7 * 86_400.0  # seconds that a browser stays let in, if the stack runs that long
KEY_BYTES = 32


def key_file(home: Path) -> Path:
    """Of the running stack."""
    return home / "run" / "session.key"


def renew_key(home: Path) -> None:
    """End every session; for a stack that starts."""
    write_private(key_file(home), secrets.token_bytes(KEY_BYTES))


class Sessions:
    """What one service believes. `clock` gives seconds since 1970."""

    def __init__(self, key: bytes, service: str, *, clock: Callable[[], float] = time.time) -> None:
        self._key, self._service, self._clock = key, service, clock
        self._began_s = clock()
        self._used: dict[str, float] = {}  # token -> when it was made
        self.cookie = f"ratchet-{hashlib.sha256(b'name' + key).hexdigest()[:12]}"

    def link_token(self, place: str = "/") -> str:
        """For one link to `place`, a path of this service."""
        return self._signed(self._link(place), f"{self._clock()!r}~{secrets.token_urlsafe(16)}")

    def redeem(self, token: str, place: str = "/") -> bool:
        """Whether the token may let a browser in, to `place`; it does so once, and none does that is older than this
        process, which could not know whether it was used."""
        made_s = self._moment(self._link(place), token)
        now = self._clock()
        if made_s is None or token in self._used or not max(self._began_s, now - LINK_S) <= made_s <= now + 1.0:
            return False
        self._used = {one: at for one, at in self._used.items() if at >= now - LINK_S} | {token: made_s}
        return True

    def cookie_value(self) -> str:
        """For a browser that was let in; every service of the stack takes it."""
        return self._signed("session", f"{self._clock() + SESSION_S!r}~{secrets.token_urlsafe(16)}")

    def holds(self, value: str) -> bool:
        """Whether the cookie is one of ours and its time has not come."""
        ends_s = self._moment("session", value)
        return ends_s is not None and self._clock() < ends_s

    def _link(self, place: str) -> str:
        """The purpose of a token: a link that leads elsewhere is another."""
        return f"link.{self._service}.{hashlib.sha256(place.encode()).hexdigest()}"

    def _signed(self, purpose: str, body: str) -> str:
        mac = hmac.new(self._key, f"{purpose}.{body}".encode(), hashlib.sha256).hexdigest()
        return f"{body}~{mac}"

    def _moment(self, purpose: str, text: str) -> float | None:
        """The time that it was signed with, or None when it was not signed for this purpose."""
        body = text.rpartition("~")[0]
        if not hmac.compare_digest(self._signed(purpose, body).encode(), text.encode()):
            return None
        return float(body.partition("~")[0])
