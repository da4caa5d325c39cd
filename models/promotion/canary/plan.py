"""What follows from what a canary has shown so far: wait, the next share, the end, or back at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.promotion.canary.config import CanaryConfig
from mlratchet.models.promotion.canary.entry import CanaryEntry, Outcome

QUIET_S = 60.0  # without a request in so long there is no traffic; of a short canary, a tenth of its time

LEAST_REPLAYED = 500  # requests of ours that a candidate is given where clients send none, to judge errors and latency


@dataclass(frozen=True, kw_only=True)
class Move:
    """What is to be done."""

    do: Literal["wait", "replay", "share", "settle", "end"]
    why: str
    step: int = 0  # of `share`: which one
    count: int = 0  # of `replay`: how many requests
    outcome: Outcome | None = None  # of `settle` and `end`


def next_move(
    canary: CanaryConfig,
    entry: CanaryEntry,
    live: LiveEvidence,
    results: Sequence[CheckResult],
    *,
    now_s: float,
    arrived: LiveEvidence | None = None,
) -> Move:
    """The one thing to do now.

    Args:
        canary: As the pipeline file declares it.
        entry: The newest one of the chain, which is watched.
        live: What was seen since it began.
        results: Of the live checks, on `live`.
        now_s: The clock, seconds since the epoch.
        arrived: The same with what has come into the log and may not be all of its time yet: enough to go on to the
            next share, and never to settle. None: there is no more.
    """
    arrived = arrived or live
    failed = [one.reason for one in results if one.verdict == "fail"]
    if live.broken:
        return Move(do="end", why=f"the inference log is no evidence: {live.broken}", outcome="inconclusive")
    if failed:
        return Move(do="end", why="; ".join(failed), outcome="fail")
    if now_s >= entry.expires_s:
        return Move(do="end", why=ran_out(canary, live, results), outcome="inconclusive")
    if entry.phase == "shadow":
        if arrived.shadowed >= canary.shadow_requests:
            return Move(do="share", why=f"{arrived.shadowed} requests in the shadow, nothing against it", step=0)
        why = f"{arrived.shadowed} of {canary.shadow_requests} in the shadow"
        return unless_quiet(canary, entry, arrived, now_s, why)
    wanted, last = canary.asked_by(entry.step), entry.step + 1 == len(canary.steps)
    counted = live.requests if last else arrived.requests
    if counted < wanted:
        return unless_quiet(canary, entry, arrived, now_s, f"{counted} of {wanted} live requests")
    if not last:
        return Move(do="share", why=f"{counted} live requests, nothing against it", step=entry.step + 1)
    undecided = [one.reason for one in results if one.verdict != "pass"]
    if undecided:
        return unless_quiet(canary, entry, arrived, now_s, "; ".join(undecided))
    return Move(do="settle", why=f"{live.requests} live requests, every live check passes", outcome="pass")


def unless_quiet(canary: CanaryConfig, entry: CanaryEntry, live: LiveEvidence, now_s: float, why: str) -> Move:
    """Wait; or replay, where the file says so and clients have sent nothing since it began."""
    quiet_s = min(QUIET_S, canary.maximum_s / 10)
    count = replays_wanted(canary, entry, live)
    if canary.on_no_traffic == "replay" and live.sent == 0 and count > 0 and now_s - entry.began_s >= quiet_s:
        return Move(do="replay", why=f"no client has sent a request for {quiet_s:.0f} s; {why}", count=count)
    return Move(do="wait", why=why)


def replays_wanted(canary: CanaryConfig, entry: CanaryEntry, live: LiveEvidence) -> int:
    """How many requests of ours the phase lacks."""
    if entry.phase == "shadow":
        return canary.shadow_requests - live.shadowed
    return max(canary.minimum_requests, LEAST_REPLAYED) - live.failed.n


def ran_out(canary: CanaryConfig, live: LiveEvidence, results: Sequence[CheckResult]) -> str:
    """Why the end of its time decides nothing."""
    if live.requests < canary.minimum_requests:
        short = f"{live.requests} live requests in {canary.maximum_hours:g} h, minimum {canary.minimum_requests}"
        return short + (f" ({live.replayed} replayed ones do not count)" if live.replayed else "")
    undecided = [one.reason for one in results if one.verdict != "pass"]
    return f"not decided in {canary.maximum_hours:g} h: {'; '.join(undecided) or 'its shadow was not full'}"
