"""An answer as ASGI sends it, made once and whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import orjson
from starlette.types import Receive, Scope, Send

JSON_TYPE = b"application/json"
Headers = Iterable[tuple[bytes, bytes]]


class Reply:
    """An ASGI application of one answer, as starlette's responses are; what most requests get is sent by no more."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, headers: Headers = (), media: bytes = JSON_TYPE) -> None:
        self.status, self.body = status, body
        self.headers = [(b"content-length", b"%d" % len(body)), (b"content-type", media), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - as ASGI says it
        """See ASGI."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})


class Line(Protocol):
    """A connection whose request is here whole, and waits for its answer."""

    def is_gone(self) -> bool:
        """Whether nobody waits any more."""
        ...

    def answer(self, reply: Reply, added: Headers) -> None:
        """Send it, with these headers after its own. Once."""
        ...


def json_reply(value: Any, status: int = 200, headers: Headers = ()) -> Reply:
    """A value as JSON."""
    return Reply(status, orjson.dumps(value), headers)


def problem(field: str, words: str, status: int, headers: Headers = (), **more: Any) -> Reply:
    """Every answer that is none: which field, and what is wrong with it."""
    return json_reply({"field": field, "error": words, **more}, status, headers)
