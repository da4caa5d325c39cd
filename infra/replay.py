"""Ask the live server what the evaluation asked the model: probation's evidence."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
from mlratchet.models.gates.evidence import LiveReplay
from mlratchet.models.serving.app import VERSION_HEADER

TIMEOUT_S = 10.0  # of one request
FAILURES_KEPT = 20  # lines; the rest is counted


def replay(
    url: str, *, version: int, x: np.ndarray[Any, Any], expected: Sequence[Mapping[str, Any]], tolerance: float
) -> LiveReplay | None:
    """One request per row of `x`, one after the other, each answer compared with the recorded one.

    Args:
        url: Of the server.
        version: Who should answer.
        x: (N, *input shape), as the model takes it.
        expected: N predictions as a client reads them.
        tolerance: Largest absolute difference of a number.

    Returns:
        None when another version answers: then nothing can be said about this one.
    """
    failures: list[str] = []
    seconds: list[float] = []
    with httpx.Client(base_url=url, timeout=TIMEOUT_S) as client:
        for number, (row, wanted) in enumerate(zip(x, expected, strict=True)):
            began = time.perf_counter()
            try:
                reply = client.post("/predict", json={"instances": [row.tolist()]})
            except httpx.HTTPError as error:
                failures.append(f"row {number}: {type(error).__name__}: {error}")
                continue
            seconds.append(time.perf_counter() - began)
            served = reply.headers.get(VERSION_HEADER)
            if reply.status_code == 200 and served != str(version):
                return None
            problem = wrong(reply, wanted, tolerance)
            if problem:
                failures.append(f"row {number}: {problem}")
    return LiveReplay(n=len(x), failures=shortened(failures), latency_ms=quantiles_ms(seconds))


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


def wrong(reply: httpx.Response, wanted: Mapping[str, Any], tolerance: float) -> str:
    """What is wrong with an answer; "" when nothing is."""
    if reply.status_code != 200:
        return f"got {reply.status_code}: {reply.text[:200]}"
    try:
        predictions = reply.json()["predictions"]
        (got,) = predictions
    except (ValueError, KeyError, TypeError) as error:
        return f"not an answer ({type(error).__name__}): {reply.text[:200]}"
    return next(differences(got, wanted, tolerance, at=""), "")


def differences(got: Any, wanted: Any, tolerance: float, *, at: str) -> Iterator[str]:
    """Where two predictions differ by more than `tolerance`.

    Labels must be equal unless the numbers leave it open: a tie within the tolerance may fall either way.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(got, Mapping) or set(got) != set(wanted):
            yield f"{at or 'prediction'}: got fields {sorted(got) if isinstance(got, Mapping) else got!r}"
            return
        for name, value in wanted.items():
            if name == "class" and is_tie(got, wanted, tolerance):
                continue
            yield from differences(got[name], value, tolerance, at=f"{at}.{name}".lstrip("."))
    elif isinstance(wanted, list | tuple):
        if not isinstance(got, list) or len(got) != len(wanted):
            yield f"{at}: got {got!r}, expected {len(wanted)} values"
            return
        for number, (left, right) in enumerate(zip(got, wanted, strict=True)):
            yield from differences(left, right, tolerance, at=f"{at}[{number}]")
    elif isinstance(wanted, float):
        if not isinstance(got, int | float) or not math.isfinite(got) or abs(got - wanted) > tolerance:
            yield f"{at}: got {got!r}, expected {wanted:.6g} within {tolerance:g}"
    elif got != wanted:
        yield f"{at}: got {got!r}, expected {wanted!r}"


def is_tie(got: Mapping[str, Any], wanted: Mapping[str, Any], tolerance: float) -> bool:
    """Whether the recorded probabilities of the two classes are nearer to each other than twice the tolerance."""
    probabilities = wanted.get("probabilities")
    if not isinstance(probabilities, Mapping) or got.get("class") not in probabilities:
        return False
    return bool(abs(probabilities[got["class"]] - probabilities[wanted["class"]]) <= 2 * tolerance)
