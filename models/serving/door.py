"""What every request passes first: its Host, an id that the server gives it, and a net under whatever goes wrong."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.troubles import Troubles
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ID_HEADER = "x-request-id"
PREDICT = "/predict"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


class Door:
    """ASGI middleware. A client's own request id is not read: what is logged can be found, and forged by nobody."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: AllowedHosts,
        troubles: Troubles,
        version: Callable[[], str],
        paths: frozenset[str],
        predict: Callable[[Request], Awaitable[Response]],
    ) -> None:
        self._app, self._hosts, self._troubles, self._version = app, hosts, troubles, version
        self._paths = paths  # of the server: a log names no other
        self._predict = predict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(16)
        added = [(ID_HEADER.encode(), request_id.encode()), *SAFE_HEADERS]
        scope.setdefault("state", {})["request_id"] = request_id
        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        if not self._hosts.allows(header_of(scope, b"host")):
            words = "not a name of this server; ask by its address, or allow the name (RATCHET_SERVING_NAMES)"
            await problem("host", words, 421)(scope, receive, answer)
            return
        try:
            if scope["path"] == PREDICT and scope["method"] == "POST":  # not through the router: nearly all are these
                await (await self._predict(Request(scope, receive)))(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log a line
            path = scope["path"] if scope["path"] in self._paths else "another path"
            self._troubles.failed(request_id, path, self._version(), error)
            if not began:
                await problem("server", "failed to answer; its log says why under this id", 500, request_id=request_id)(
                    scope, receive, answer
                )


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first of that name, in lower case, or None."""
    found = raw_header(scope, name)
    return found.lower() if found is not None else None


def raw_header(scope: Scope, name: bytes) -> str | None:
    """The first of that name as it was sent, or None. The quick way: this is asked of every request."""
    for key, value in scope["headers"]:
        if key == name:
            found: str = value.decode("latin-1")
            return found
    return None


def problem(field: str, words: str, status: int, headers: dict[str, str] | None = None, **more: Any) -> Response:
    """Every answer that is none: which field, and what is wrong with it."""
    body = orjson.dumps({"field": field, "error": words, **more})
    return Response(body, status, headers, media_type="application/json")
