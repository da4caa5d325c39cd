"""Who may ask a server for what: tokens with scopes, of which a server holds nothing but digests.

A token is 256 random bits, so that a plain SHA-256 of it says nothing of it; digests are compared in constant time.
Open without one are predictions to this machine itself, and what tells of a server (`/health`, `/metrics`, `/docs`).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from mlratchet.models.config import StrictModel
from mlratchet.models.serving.refusal import BadRequestError
from pydantic import Field

Scope = Literal["predict", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "rt"
SECRET_BYTES = 32
ID_CHARACTERS = 12
MOST_CHARACTERS = 200  # of a header that is looked at
NOBODY = "0" * 64  # the digest that an unknown token is compared with, so that it takes as long
FIELD = "authorization"
FORWARDED = (
    b"forwarded",
    b"x-forwarded-for",
    b"x-real-ip",
)  # what a proxy on this machine adds: its client is elsewhere


class ServingToken(StrictModel):
    """What is kept of one."""

    id: str = Field(pattern=rf"^[a-z0-9]{{{ID_CHARACTERS}}}$")
    """Its public part, by which it is listed and revoked."""
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """Whose it is; labels of feedback are told by it."""
    scopes: tuple[Scope, ...] = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    created_s: float
    """Seconds since the epoch."""


def new_token(name: str, scopes: tuple[Scope, ...], *, now_s: float) -> tuple[str, ServingToken]:
    """The token's text, which is shown once, and what is kept. Raises ``ValueError`` for a name that is none."""
    found = secrets.token_hex(ID_CHARACTERS // 2)
    text = f"{PREFIX}_{found}_{secrets.token_urlsafe(SECRET_BYTES)}"
    return text, ServingToken(id=found, name=name, scopes=scopes, sha256=digest_of(text), created_s=now_s)


def digest_of(text: str) -> str:
    """As it is kept."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def holder_of(text: str, tokens: Mapping[str, ServingToken]) -> ServingToken | None:
    """Whose token it is. `tokens`: by id."""
    _, _, rest = text.partition("_")
    held = tokens.get(rest.partition("_")[0])
    same = hmac.compare_digest(digest_of(text), held.sha256 if held is not None else NOBODY)
    return held if same else None


class Access:
    """Of one server. `tokens`: those of now, by id."""

    def __init__(self, tokens: Callable[[], Mapping[str, ServingToken]]) -> None:
        self._tokens = tokens

    def check(self, needed: Scope, scope: Mapping[str, Any]) -> ServingToken | None:
        """Who asks; None: somebody on this machine, for a prediction. `scope`: of ASGI.

        Raises ``BadRequestError``: 401 without a token that there is, 403 for one without the scope."""
        told = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if told is None:
            if needed == "predict" and is_local(scope):
                return None
            raise BadRequestError(FIELD, f"expected `Bearer TOKEN` with the scope {needed}; `ratchet tokens make`", 401)
        kind, _, text = told.decode("latin-1").partition(" ")
        known = kind.lower() == "bearer" and len(text) <= MOST_CHARACTERS
        holder = holder_of(text.strip(), self._tokens()) if known else None
        if holder is None:
            raise BadRequestError(FIELD, "no token of this server, or a revoked one", 401)
        if needed not in holder.scopes:
            raise BadRequestError(FIELD, f"this token has not the scope {needed}", 403)
        return holder


def is_local(scope: Mapping[str, Any]) -> bool:
    """Whether a request comes from this machine, and through no proxy."""
    client = scope.get("client")
    if client is None or any(name in FORWARDED for name, _ in scope["headers"]):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
