"""Wait for a model server that was just asked for; where it does not come, say which it is: starting, or dead."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
from mlratchet.infra.serving.client import READY_S, reason_of
from mlratchet.models.errors import InfrastructureError

PATIENCE_S = 30.0
QUIET_S = 1.0  # of waiting before a word about it
POLL_S = 0.2
STARTING = ("starting", "no champion yet")  # as `/ready` says it


@dataclass(frozen=True, kw_only=True)
class ServerProcess:
    """A server's process, as the stack's supervisor tells it."""

    pid: int | None
    supervised: bool  # whether the supervisor runs


def wait_for_answers(
    pipeline: str,
    url: Callable[[], str | None],
    process: Callable[[], ServerProcess],
    *,
    tell: Callable[[str], None],
    client: httpx.Client,
    patience_s: float = PATIENCE_S,
    ticks: Iterator[float] | None = None,
) -> None:
    """Until the server of a pipeline answers, be it with a refusal of its own. `tell` gets a line where that lasts.

    Args:
        pipeline: It is asked to be served.
        url: Where it answers; None while it has no address.
        process: Who serves it.
        tell: Of a line for people.
        client: To ask with.
        patience_s: Seconds to wait.
        ticks: Seconds waited, at every look; the clock's, without it.

    Raises ``InfrastructureError`` that says whether it is starting, has died, or the stack is down.
    """
    pids: list[int | None] = []
    told, waited, why = False, 0.0, ""
    for waited in ticks or _ticks():
        at = url()
        why = _not_yet(client, at) if at is not None else "it has no address yet"
        if not why:
            return
        now = process()
        if not now.supervised:
            raise InfrastructureError(f"nothing serves {pipeline}: the stack is down ({why}); `ratchet up` starts it")
        if (now.pid is not None or pids) and now.pid not in pids[-1:]:
            pids.append(now.pid)
        if waited >= patience_s:
            break
        if waited >= QUIET_S and not told:
            told = True
            tell(f"the server of {pipeline} is starting; waiting up to {patience_s:g} s")
    raise InfrastructureError(
        f"{_standing(pipeline, pids)} after {waited:.0f} s: {why}; see `ratchet logs serve-{pipeline}`"
    )


def _standing(pipeline: str, pids: list[int | None]) -> str:
    if not pids:
        return f"the server of {pipeline} was not started"
    if len(pids) > 1:
        now = "is gone" if pids[-1] is None else f"was started again as process {pids[-1]}"
        return f"the server of {pipeline} has died: process {pids[0]} ended, and it {now}"
    return f"the server of {pipeline} is still starting, as process {pids[0]},"


def _not_yet(client: httpx.Client, url: str) -> str:
    """Why it does not answer yet; empty where it does, or says more than that it starts."""
    try:
        reply = client.get(f"{url}/ready", timeout=READY_S)
    except httpx.ConnectError as error:
        return f"{url}: {error}"
    except httpx.HTTPError:
        return ""  # somebody is there: what is asked of it next is told as it is
    if reply.status_code == 404:
        return f"{url}: it knows no {url.rpartition('/')[2]} yet"
    why = reason_of(reply)
    if reply.status_code == 503 and not why:  # the server looks up yet which pipelines there are
        return f"{url} answers 503: {reply.text[:200]}"
    return why if reply.status_code == 503 and why in STARTING else ""


def _ticks() -> Iterator[float]:
    began = time.monotonic()
    while True:
        yield time.monotonic() - began
        time.sleep(POLL_S)
