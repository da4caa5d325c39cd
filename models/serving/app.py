"""The HTTP application of a server process: `/NAME/...` of every pipeline, and what tells of all of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping

from mlratchet.models.serving.admission import RETRY_AFTER_S
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.endpoint import EXPLAIN, PREDICT, RELOAD, Endpoint, Page
from mlratchet.models.serving.feedback import FEEDBACK
from mlratchet.models.serving.hosts import AllowedHosts
from mlratchet.models.serving.list_page import CSS, STYLE, list_page, wants_a_page
from mlratchet.models.serving.metrics import TEXT, Metrics
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.reply import Headers, Line, Reply, json_reply, problem
from mlratchet.models.serving.tokens import Access
from mlratchet.models.serving.tokens import Scope as TokenScope
from mlratchet.models.serving.troubles import Troubles
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ID_HEADER = "x-request-id"
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
READING = ("GET", "HEAD")  # methods that have nothing done
READ_S = ServingConfig().read_seconds
NEEDED: Mapping[str, TokenScope] = {EXPLAIN: "predict", FEEDBACK: "feedback", RELOAD: "admin"}
"""By paths below a pipeline's."""
STARTING = "the server is starting; what it serves is being looked up"
NO_ENDPOINT = ""  # the label of what the process answers for itself


class ServingApp:
    """What every request passes first: its Host, an id that the server gives it, and a net under whatever goes wrong.
    A client's own request id is not read: what is logged can be found, and forged by nobody."""

    def __init__(self, metrics: Metrics, hosts: AllowedHosts | None = None, access: Access | None = None) -> None:
        """`access`: None: whoever reaches it may ask."""
        self.metrics, self._access = metrics, access
        self.starting = False  # whether what it is asked to serve is still being looked up
        self._hosts = hosts or AllowedHosts()
        self._endpoints: dict[str, Endpoint] = {}
        self._by_path: dict[str, Endpoint] = {}  # of `/NAME/predict`: nearly all requests are these
        self._troubles = Troubles(lambda status: metrics.errors.labels(NO_ENDPOINT, status).inc())
        self._pages: Mapping[tuple[str, str], Page] = {
            ("GET", "/"): self.list,
            ("GET", STYLE): self.style,
            ("GET", "/health"): self.health,
            ("GET", "/ready"): self.ready,
            ("GET", "/metrics"): self.prometheus,
        }

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """By the name of the pipeline."""
        return self._endpoints

    @property
    def longest_read_s(self) -> float:
        """Seconds that the most patient pipeline gives a request to arrive."""
        return max((one.config.read_seconds for one in self._endpoints.values()), default=READ_S)

    def take_up(self, endpoint: Endpoint) -> None:
        """Answer below `/NAME` from now on, in place of one of that name. On the event loop, or before there is one."""
        self._endpoints[endpoint.name] = endpoint
        self._by_path[f"/{endpoint.name}{PREDICT}"] = endpoint

    def drop(self, name: str) -> Endpoint | None:
        """Answer no more there; whoever drops it ends it (`ended`). On the event loop. None: nobody answers there."""
        self._by_path.pop(f"/{name}{PREDICT}", None)
        return self._endpoints.pop(name, None)

    async def ended(self, endpoint: Endpoint) -> None:
        """One that was dropped, or has another in its place: what is under way is answered, and where there is none of
        its name by then nothing more is told of it."""
        await endpoint.close()
        if endpoint.name not in self._endpoints:
            self.metrics.forget(endpoint.name)

    async def close(self) -> None:
        """Answer what is under way, everywhere."""
        for endpoint in list(self._endpoints.values()):
            await endpoint.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        request_id = new_request_id()
        passing = _Passing(send, request_id)
        strange = self._strange(scope)
        if strange is not None:
            await strange(scope, receive, passing)
            return
        endpoint = self._by_path.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is not None:
            refused = self._refused("predict", scope)
            await (
                refused(scope, receive, passing) if refused else endpoint.predict(scope, receive, passing, request_id)
            )
            return
        await self._other(scope, receive, passing, request_id)

    def answer_at_once(self, scope: Scope, body: bytes, line: Line) -> bool:
        """Take over a request that is here whole, without ASGI's turns of the event loop. False: it is no prediction
        of a few plain numbers or words, or one that may be refused; nothing has happened, and ASGI is the road."""
        endpoint = self._by_path.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is None:
            return False
        if self._strange(scope) is not None or self._refused("predict", scope) is not None:
            return False
        request_id = new_request_id()
        return endpoint.predict_at_once(scope, body, line, request_id, headers_of(request_id))

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _other(self, scope: Scope, receive: Receive, send: _Passing, request_id: str) -> None:
        """Everything but `/NAME/predict`."""
        endpoint, path, pages = self._place(scope["path"])
        scope.setdefault("state", {})["request_id"] = request_id
        known = {method for method, page in pages if page == path}
        if endpoint is None and path[1:] in self._endpoints:  # its page names what it loads from there
            await Reply(308, b"", [(b"location", f"{path[1:]}/".encode())])(scope, receive, send)
            return
        try:
            if endpoint is not None and path == PREDICT:
                known = {"POST"}
            page = pages.get(("GET" if scope["method"] == "HEAD" else scope["method"], path))
            refused = self._refused(NEEDED[path], scope) if page is not None and path in NEEDED else None
            if page is None or refused is not None:
                await (refused or self._not_here(known))(scope, receive, send)
                return
            await (await page(Request(scope, receive)))(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer and the log a line
            troubles, version = (
                (endpoint.troubles, endpoint.slot.version) if endpoint is not None else (self._troubles, "none")
            )
            troubles.failed(request_id, path if known else "another path", version, error)  # a log names none but ours
            if not send.began:
                words = "failed to answer; its log says why under this id"
                await problem("server", words, 500, request_id=request_id)(scope, receive, send)

    def _strange(self, scope: Scope) -> Reply | None:
        """The answer to who asks by a name that is not ours, or for a page that is not; None: go on."""
        try:
            host, origin = header_of(scope, b"host"), header_of(scope, b"origin")
        except BadRequestError as error:
            return problem(error.field, error.message, error.status, [(b"connection", b"close")])
        if not self._hosts.allows(host):
            words = "not a name of this server; ask by its address, or allow the name (RATCHET_SERVING_NAMES)"
            return problem("host", words, 421)
        if scope["method"] not in READING and not self._hosts.allows_page(origin, host):
            words = "pages of another site may not ask; allow the name of theirs (RATCHET_SERVING_NAMES)"
            return problem("origin", words, 403, [(b"connection", b"close")])
        return None

    def _refused(self, needed: TokenScope, scope: Scope) -> Reply | None:
        """The answer to who may not ask; None: go on, with whose token it is in the scope."""
        if self._access is None:
            return None
        try:
            holder = self._access.check(needed, scope)
        except BadRequestError as error:
            headers = [(b"www-authenticate", b"Bearer"), (b"connection", b"close")]  # its body is not read
            return problem(error.field, error.message, error.status, headers)
        scope.setdefault("state", {})["token"] = holder.name if holder is not None else None
        return None

    def _not_here(self, methods: set[str]) -> Reply:
        """404, or 405 where another method is answered. Until it is known which pipelines are served here, nobody is
        told that there is none of that name."""
        if self.starting and not methods:
            return problem("path", STARTING, 503, [(b"retry-after", b"%d" % RETRY_AFTER_S)])
        if not methods:
            return problem("path", "Not Found", 404)
        allowed = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
        return problem("path", "Method Not Allowed", 405, [(b"allow", ", ".join(allowed).encode())])

    def _place(self, path: str) -> tuple[Endpoint | None, str, Mapping[tuple[str, str], Page]]:
        """Whose a path is, the rest of it, and the pages there."""
        name, slash, rest = path[1:].partition("/")
        endpoint = self._endpoints.get(name) if slash else None
        return (None, path, self._pages) if endpoint is None else (endpoint, f"/{rest}", endpoint.pages)

    async def list(self, request: Request) -> ASGIApp:
        """What is served, for people or as `/health`."""
        facts = [one.facts() for _, one in sorted(self._endpoints.items())]
        page = wants_a_page(request.headers.get("accept"))
        return list_page(facts) if page else await self.health(request)

    async def style(self, _: Request) -> ASGIApp:
        """Of that page."""
        return Reply(200, CSS.encode(), media=b"text/css; charset=utf-8")

    async def health(self, _: Request) -> ASGIApp:
        """Alive, and the facts of every pipeline."""
        facts = {name: one.facts() for name, one in sorted(self._endpoints.items())}
        return json_reply({"pipelines": facts, "server_errors": self._troubles.facts()})

    async def ready(self, _: Request) -> ASGIApp:
        """200 when every pipeline is served."""
        if self.starting:
            return json_reply({"ready": False, "reason": "starting"}, 503, [(b"retry-after", b"%d" % RETRY_AFTER_S)])
        waiting = {name: one.why_not_ready for name, one in sorted(self._endpoints.items()) if one.why_not_ready}
        if waiting:
            reason = "; ".join(f"{name}: {why}" for name, why in waiting.items())
            facts = {"ready": False, "reason": reason, "pipelines": waiting}
            return json_reply(facts, 503, [(b"retry-after", b"%d" % RETRY_AFTER_S)])
        behind = {name: one.slot.load_error for name, one in sorted(self._endpoints.items()) if one.slot.load_error}
        words = "; ".join(f"{name}: {why}" for name, why in behind.items())
        return json_reply({"ready": True, **({"behind": words} if behind else {})})

    async def prometheus(self, _: Request) -> ASGIApp:
        """Of every pipeline."""
        text = await asyncio.get_running_loop().run_in_executor(
            None, self.metrics.text
        )  # others are answered meanwhile
        return Reply(200, text, media=TEXT)


class _Passing:
    """Sends an answer on, with the headers that every answer has."""

    __slots__ = ("_added", "_send", "began")

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self.began = send, False
        self._added = headers_of(request_id)

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.began = True
            message["headers"] = [*message.get("headers", ()), *self._added]
        await self._send(message)


def new_request_id() -> str:
    """Nobody can guess the next one."""
    return secrets.token_hex(16)


def headers_of(request_id: str) -> Headers:
    """Of every answer."""
    return ((b"x-request-id", request_id.encode()), *SAFE_HEADERS)


def header_of(scope: Scope, name: bytes) -> str | None:
    """The header of that name, or None. Raises ``BadRequestError`` (400) for several: who stands in between may go by
    another of them."""
    found = [value for key, value in scope["headers"] if key == name]
    if len(found) > 1:
        raise BadRequestError(name.decode(), f"got {len(found)} headers of that name, expected one", 400)
    return found[0].decode("latin-1") if found else None
