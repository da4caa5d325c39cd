"""Who is let in to Prefect, MLflow and TensorBoard: the one door in front of each, for every path and every WebSocket.

Prefect's own password leaves its UI, its documentation and some WebSockets open, MLflow's own costs an application and
a database of its own, and TensorBoard has none. A request is answered when it names this service as its host (a web
page cannot rebind a name of its own to it), comes from no page of somebody else's, and brings the password or the
session that a one-time link gave. The rules are `refusal`, a pure function; `AccessGuard` is the ASGI application that
applies them.
"""

from __future__ import annotations

import hmac
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs, quote

from mlratchet.infra.settings import Settings, basic
from mlratchet.infra.stack.sessions import SESSION_S, Sessions, key_file
from mlratchet.models.errors import InfrastructureError
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = "/ratchet-open"  # the path of a one-time link
PLACE = re.compile(r"/(?![/\\])[^\\\s\x00-\x1f\x7f]*")  # `//host` and `/\host` are other hosts to a browser
FOREIGN = ("cross-site", "same-site")  # another port of this machine is the same site, and somebody else


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    words: str


@dataclass(frozen=True, kw_only=True)
class RequestFacts:
    """What the rules look at, of one request; header values as the client sent them, "" where it sent none."""

    method: str  # "GET" for the handshake of a WebSocket
    host: str
    origin: str
    fetch_site: str  # Sec-Fetch-Site, which browsers set and pages cannot
    fetch_mode: str
    fetch_dest: str
    authorization: str
    cookie: str


@dataclass(frozen=True, kw_only=True)
class Locks:
    """What one service asks for."""

    service: str  # as `ratchet open` knows it
    host: str  # with the port
    credentials: str | None  # user:password; None: whoever reaches it is let in
    sessions: Sessions | None


def refusal(asked: RequestFacts, locks: Locks) -> Refusal | None:
    """None when the request may be answered."""
    if asked.host != locks.host:
        return Refusal(421, f"this is {locks.host}; it does not answer for {asked.host or 'no host'}")
    if asked.origin and asked.origin != f"http://{locks.host}":
        return Refusal(403, f"pages of {asked.origin} may not ask {locks.service}")
    opened = asked.method == "GET" and asked.fetch_mode == "navigate" and asked.fetch_dest in ("document", "")
    if asked.fetch_site in FOREIGN and not opened:
        return Refusal(403, f"a page of another site may not ask {locks.service}")
    if locks.credentials is None or has_password(asked, locks.credentials) or has_session(asked, locks.sessions):
        return None
    return Refusal(401, f"{locks.service} asks for a password; in a browser, `ratchet open {locks.service}` leads in")


def has_password(asked: RequestFacts, credentials: str) -> bool:
    """Whether the header is the Basic authorization for `credentials`."""
    return hmac.compare_digest(asked.authorization.encode(), basic(credentials).encode())


def has_session(asked: RequestFacts, sessions: Sessions | None) -> bool:
    """Whether a cookie of ours is among those of the request."""
    if sessions is None or not asked.cookie:
        return False
    try:
        held = SimpleCookie(asked.cookie).get(sessions.cookie)
    except CookieError:
        return False
    return held is not None and sessions.holds(held.value)


class AccessGuard:
    """An ASGI application in front of another."""

    def __init__(self, app: ASGIApp, locks: Locks) -> None:
        self._app, self._locks = app, locks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here, or let the request through as it came."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        asked = read(scope)
        sessions = self._locks.sessions
        refused = refusal(asked, self._locks)
        if (
            scope["type"] == "http"
            and scope["path"] == OPEN
            and sessions
            and (refused is None or refused.status == 401)
        ):
            query = parse_qs(scope["query_string"].decode("latin-1"))
            token, place = (query.get(name, [default])[0] for name, default in (("token", ""), ("to", "/")))
            if asked.method == "GET" and is_place(place) and sessions.redeem(token, place):
                await let_in(send, sessions, place)
                return
            refused = Refusal(
                401, f"the link was used, or is too old: `ratchet open {self._locks.service}` makes another"
            )
        if refused is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": refused.words})
        else:
            await answer(send, refused.status, page(refused.words))


def read(scope: Scope) -> RequestFacts:
    """Of a request or a handshake. Two headers that should be one are no value that any rule knows."""
    found: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def one(name: str) -> str:
        return ", ".join(found.get(name, []))

    return RequestFacts(
        method=scope.get("method", "GET"),
        host=one("host"),
        origin=one("origin"),
        fetch_site=one("sec-fetch-site"),
        fetch_mode=one("sec-fetch-mode"),
        fetch_dest=one("sec-fetch-dest"),
        authorization=one("authorization"),
        cookie="; ".join(found.get("cookie", [])),
    )


def is_place(place: str) -> bool:
    """Whether it is a path of the very service that is asked, perhaps with query and fragment: a link leads nowhere
    else."""
    return PLACE.fullmatch(place) is not None


async def let_in(send: Send, sessions: Sessions, place: str) -> None:
    """The cookie, and a page that goes on by itself: a redirect would count as that of the page which holds the link,
    and bring no cookie."""
    cookie = f"{sessions.cookie}={sessions.cookie_value()}; Path=/; Max-Age={SESSION_S:.0f}; HttpOnly; SameSite=Strict"
    to = html.escape(place, quote=True)
    onward = f'<!doctype html><meta http-equiv="refresh" content="0;url={to}"><a href="{to}">go on</a>'
    await answer(send, 200, onward, [("set-cookie", cookie)])


def page(words: str) -> str:
    """For people; a program reads it as well."""
    return f"<!doctype html><title>ratchet</title><p>{html.escape(words)}</p>\n"


async def answer(send: Send, status: int, body: str, headers: Iterable[tuple[str, str]] = ()) -> None:
    """A page of ours, which nobody keeps, frames, or is told of."""
    said = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        *headers,
    ]
    raw = [(name.encode(), value.encode("latin-1")) for name, value in said]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body.encode()})


def credentials_of(settings: Settings, service: str) -> str | None:
    """user:password that a service of the embedded stack asks for; None where `ratchet up --no-auth` said so."""
    if settings.no_auth or settings.prefect_auth is None or settings.mlflow_password is None:
        return None
    if service == "mlflow":
        return f"{settings.mlflow_username}:{settings.mlflow_password.get_secret_value()}"
    return settings.prefect_auth.get_secret_value()


def locks_of(settings: Settings, service: str, port: int) -> Locks:
    """Of a service of the embedded stack, while that runs."""
    credentials = credentials_of(settings, service)
    return Locks(
        service=service,
        host=f"127.0.0.1:{port}",
        credentials=credentials,
        sessions=sessions_of(settings.home, service) if credentials is not None else None,
    )


def sessions_of(home: Path, service: str) -> Sessions:
    """Of the running stack. Raises ``OSError`` when none has been started."""
    return Sessions(key_file(home).read_bytes(), service)


def one_time_link(home: Path, service: str, url: str, place: str = "/") -> str:
    """Lets one browser in, once, within two minutes, and leads it to `place`, a path of the service.

    Raises ``InfrastructureError`` where an earlier release runs, ``ValueError`` for what is no path.
    """
    if not is_place(place):
        raise ValueError(f"expected a path of {service}, got {place!r}")
    try:
        sessions = sessions_of(home, service)
    except FileNotFoundError as exc:
        raise InfrastructureError(
            f"{key_file(home)} is missing: the stack was started by an earlier release; `ratchet down`, then "
            "`ratchet up`"
        ) from exc
    return f"{url}{OPEN}?token={sessions.link_token(place)}&to={quote(place, safe='')}"
