"""One request on its road: what it says of itself, and how far it has come."""

from __future__ import annotations

import time
from typing import Any

from mlratchet.models.inference_log.client_keys import kept_key
from mlratchet.models.serving.predictor import Answers
from mlratchet.models.serving.routing import Variant
from mlratchet.models.tensors.named import Inputs
from starlette.types import Message, Receive, Scope

CLIENT_KEY = b"x-client-key"  # whose rows they are: what erasure goes by
REQUEST_KEY = b"x-request-key"  # requests of one key are answered by one variant; else those of one client are
REPLAYED = b"x-ratchet-replayed"  # a request of our own


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


async def read_already() -> Message:
    """What is received of a request that is here whole."""
    return {"type": "http.disconnect"}


class Asked:
    """A request to `/predict` or `/explain`. The stages of `answering.py` fill it one after the other."""

    __slots__ = (
        "answers",
        "began",
        "error",
        "headers",
        "instances",
        "path",
        "receive",
        "received_s",
        "request_id",
        "rows",
        "said",
        "status",
        "variant",
        "written",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, request_id: str, path: str = "/predict") -> None:
        self.path = path  # below the pipeline's
        self.receive, self.request_id = receive, request_id
        self.received_s, self.began = time.time(), time.perf_counter()
        self.headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # of several of one name the first counts
        self.variant: Variant | None = None
        self.instances: list[Any] | None = None
        self.written: bytes | None = None  # what the instances are, as the client wrote it in JSON
        self.said: bytes | None = None  # the answer's body
        self.rows: Inputs | None = None
        self.answers: Answers | None = None
        self.status, self.error = 0, ""

    def header(self, name: bytes) -> str | None:
        """The first of that name, or None."""
        found = self.headers.get(name)
        return found.decode("latin-1") if found is not None else None

    def is_gone(self) -> bool:
        """Whether the client is, once its body was read: ASGI has a message of that waiting. Asked without waiting for
        one, by the first step of the coroutine that would."""
        waiting = self.receive()
        try:
            waiting.send(None)  # type: ignore[attr-defined]  # ASGI's `receive` is a coroutine function
        except StopIteration as told:
            return bool(told.value["type"] == "http.disconnect")
        waiting.close()  # type: ignore[attr-defined]  # likewise
        return False

    @property
    def client_key(self) -> str | None:
        """As the client says it."""
        found = self.headers.get(CLIENT_KEY)
        return kept_key(found) if found else None

    @property
    def request_key(self) -> str:
        """What a sticky share goes by; without a key each request is a client of its own."""
        found = self.headers.get(REQUEST_KEY)
        return kept_key(found) if found else self.client_key or self.request_id

    @property
    def replayed(self) -> bool:
        """Whether it is one of ours."""
        return self.header(REPLAYED) is not None

    @property
    def variant_name(self) -> str:
        """As what that one answers."""
        return self.variant.name if self.variant is not None else "none"

    @property
    def version(self) -> str:
        """Who answers it, for headers and labels."""
        return str(self.variant.predictor.version) if self.variant is not None else "none"
