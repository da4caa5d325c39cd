"""Send requests to the live server and compare its answers: probation's evidence."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence

import httpx
import numpy as np
from mlratchet.models.gates.evidence import LiveReplay
from mlratchet.models.serving.answering import VERSION_HEADER
from mlratchet.models.serving.asked import CLIENT_KEY, REPLAYED
from mlratchet.models.serving.contract import TOLERANCE, StoredRequest, difference
from mlratchet.models.serving.routing import in_share

TIMEOUT_S = 10.0  # of one request
FAILURES_KEPT = 20  # lines; the rest is counted
OURS = {"content-type": "application/json", REPLAYED.decode(): "1"}  # no client sent it


def replay_live(
    url: str, requests: Sequence[StoredRequest], *, version: int, tolerance: float = TOLERANCE
) -> LiveReplay | None:
    """One request after the other over HTTP, each answer held against what must come of it.

    Args:
        url: Of the server.
        requests: Rows whose answers were recorded, what clients send, and what must be refused.
        version: Who should answer.
        tolerance: See `models.serving.contract.difference`.

    Returns:
        What was found, with the time of every request that was answered; None when another version answers, because
        then nothing can be said about this one.
    """
    failures: list[str] = []
    seconds: list[float] = []
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for request in requests:
            began = time.perf_counter()
            try:
                reply = client.post("/predict", content=request.body, headers=OURS)
            except httpx.HTTPError as error:
                failures.append(f"{request.name}: {type(error).__name__}: {error}")
                continue
            if reply.headers.get(VERSION_HEADER) not in (None, str(version)):
                return None
            if request.expect == "answer":
                seconds.append(time.perf_counter() - began)
            problem = wrong(reply, request, tolerance)
            if problem:
                failures.append(f"{request.name}: {problem}")
    return LiveReplay(n=len(requests), failures=shortened(failures), latency_ms=quantiles_ms(seconds))


def send_replayed(url: str, bodies: Sequence[str], *, count: int, salt: str, share: float) -> int:
    """Send recorded requests for want of clients, marked as ours; how many were answered, whatever the answer.

    Args:
        url: Of the server.
        bodies: Of requests, again and again.
        count: How many to send.
        salt: Of the hash that divides clients.
        share: Of the clients that are the candidate's: each request is of one of them; 0: of anybody.
    """
    clients = (f"replay-{number}" for number in itertools.count())
    chosen = (name for name in clients if share == 0 or in_share(name, salt, share))
    answered = 0
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for body, name in zip(itertools.islice(itertools.cycle(bodies), count), chosen, strict=False):
            try:
                client.post("/predict", content=body, headers=OURS | {CLIENT_KEY.decode(): name})
            except httpx.HTTPError:
                continue
            answered += 1
    return answered


def wrong(reply: httpx.Response, request: StoredRequest, tolerance: float) -> str:
    """What is wrong with a reply; "" when nothing is."""
    if request.expect == "refusal":
        refused = 400 <= reply.status_code < 500
        return "" if refused else f"expected a refusal, got {reply.status_code}"
    if reply.status_code != 200:
        return f"expected an answer, got {reply.status_code}: {reply.text[:200]}"
    try:
        answers = reply.json()["predictions"]
        asked = len(json.loads(request.body)["instances"])
        if len(answers) != asked:
            return f"expected {asked} predictions, got {len(answers)}"
        for number, (got, expected) in enumerate(zip(answers, request.predictions or (), strict=False)):
            problem = difference(got, expected, tolerance)
            if problem:
                return f"prediction {number}: {problem}"
    except (ValueError, KeyError, TypeError) as error:
        return f"not an answer ({type(error).__name__}): {reply.text[:200]}"
    return ""


def shortened(failures: Sequence[str]) -> tuple[str, ...]:
    """The first lines, and how many more there were."""
    more = len(failures) - FAILURES_KEPT
    return (*failures[:FAILURES_KEPT], *([f"and {more} more"] if more > 0 else []))


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 in milliseconds; empty when nothing was answered."""
    if not seconds:
        return {}
    values = np.quantile(np.asarray(seconds) * 1e3, [0.5, 0.95, 0.99])
    return dict(zip(("p50", "p95", "p99"), map(float, values), strict=True))
