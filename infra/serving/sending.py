"""Send requests to a model server at a pace, and remember by which id each was answered."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
from mlratchet.models.monitoring.traffic import Sent

SENDERS = 8  # threads: a slow answer keeps no other request back
TIMEOUT_S = 10.0
ID_HEADER = "x-request-id"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """One request that a server answered with an id."""

    request_id: str
    status: int
    truth: str
    drifted: bool
    answered_s: float  # seconds since the epoch


@dataclass(kw_only=True)
class Tally:
    """What became of the requests."""

    statuses: Counter[str] = field(default_factory=Counter)  # by HTTP status, or the name of what was raised
    latest_s: float = 0.0  # by how much the last request was sent later than its moment


def send(
    url: str,
    requests: Iterable[Sent],
    *,
    heard: Callable[[Heard], None],
    client_key: Callable[[Sent], str] | None = None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], None] = time.sleep,
) -> Tally:
    """Every request at its moment; `heard` is told of each that has an id, from several threads."""
    tally, began = Tally(), clock()
    limits = httpx.Limits(max_connections=SENDERS, max_keepalive_connections=SENDERS)
    with httpx.Client(base_url=url, timeout=TIMEOUT_S, limits=limits) as client, ThreadPoolExecutor(SENDERS) as pool:
        pending: list[Future[str]] = []
        for request in requests:
            early_s = request.at_s - (clock() - began)
            if early_s > 0:
                wait(early_s)
            tally.latest_s = max(0.0, -early_s)
            headers = {"x-client-key": client_key(request)} if client_key is not None else {}
            pending.append(pool.submit(ask, client, request, headers, heard))
            if len(pending) >= 4 * SENDERS:  # memory does not grow with the traffic
                tally.statuses[pending.pop(0).result()] += 1
        tally.statuses.update(one.result() for one in pending)
    return tally


def ask(client: httpx.Client, request: Sent, headers: dict[str, str], heard: Callable[[Heard], None]) -> str:
    """One request; its status, or what was raised."""
    body = json.dumps({"instances": [request.instance]}).encode()
    try:
        reply = client.post("/predict", content=body, headers={"content-type": "application/json", **headers})
    except httpx.HTTPError as error:
        return type(error).__name__
    request_id = reply.headers.get(ID_HEADER)
    if request_id:
        heard(
            Heard(
                request_id=request_id,
                status=reply.status_code,
                truth=request.truth,
                drifted=request.drifted,
                answered_s=time.time(),
            )
        )
    return str(reply.status_code)
