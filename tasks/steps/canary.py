"""Canary: a staged version answers in the champion's shadow, then a share of the clients, and is watched meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mlratchet.infra.serving.replay import send_replayed
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import ConfigurationError, GateRefusedError
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.evidence import thaw_live
from mlratchet.models.promotion.canary.plan import Move
from mlratchet.models.promotion.canary.steer import refuse_other_canary
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving.canary_look import CanaryWatch
from mlratchet.tasks.actions.canary import end_orphan, is_watched
from mlratchet.tasks.step import step
from mlratchet.tasks.support.canaries import canary_of, canary_reader, going_on, look_now
from mlratchet.tasks.support.recorded_requests import requests_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

POLL_S = 2.0  # seconds between two looks of a run that watches
REPLAY_AGAIN_S = 60.0  # seconds in which what was replayed comes into the log


@dataclass(frozen=True, kw_only=True)
class WatchedCanary:
    """How a canary stands when a run has looked."""

    entry: CanaryEntry
    live: LiveEvidence | None  # what the champion gate reads; None while it is watched
    words: str


@step("Begin the canary", retries=1)
def begin_canary(run: Run, work: Work, record: Registration, staging: GateRun) -> CanaryEntry:
    """The newest entry of this version's canary; its first one where there is none that this run goes on with.

    Raises ``GateRefusedError`` while another version is in its canary, ``LedgerConflict`` when the champion that it was
    staged against serves no more, ``ConfigurationError`` where nobody serves.
    """
    assert run.spec.serving.canary is not None, "asked for a pipeline that declares one"
    assert work.champion is not None, "there is no canary without a champion"
    name = run.spec.name
    refuse_without_server(run)
    end_orphan(run.adapters, name, but_of=record.work_key)
    entry, chain, over = going_on(run.adapters, name)
    head = chain.head
    if head is None or head.entry.generation != work.champion.generation:
        raise LedgerConflict(moved(name, chain))
    if entry is not None and not over:
        refuse_other_canary(entry, record)
        return entry if entry.run == run.run_id else taken_over(run, entry)
    if entry is not None and is_answered(entry, record, chain, run.run_id):
        return entry
    return canary_of(run.adapters, name).begin(
        run.spec.serving.canary,
        record,
        head,
        staging=staging.decision,
        run=run.run_id,
        actor=run.actor,
        now_s=time.time(),
        after=entry,
    )


def taken_over(run: Run, entry: CanaryEntry) -> CanaryEntry:
    """The canary of a run that is gone, for this one. Raises ``GateRefusedError`` while that one watches it."""
    if is_watched(run.adapters, entry):
        raise GateRefusedError(
            f"run {entry.run} watches the canary of version {entry.version} of {entry.name}; `ratchet canary "
            f"{entry.name}` shows it"
        )
    return canary_of(run.adapters, entry.name).hand_over(entry, run.run_id, now_s=time.time())


def is_answered(entry: CanaryEntry, record: Registration, chain: Chain, run_id: str) -> bool:
    """Whether this very version stood, or failed, its canary against this very champion: asking again is no evidence.
    What decided nothing is asked again by another run."""
    assert chain.head is not None
    same = (entry.work_key, entry.head) == (record.work_key, chain.head.digest)
    answered = entry.outcome == "fail" or (entry.run == run_id and bool(entry.evidence))
    return same and not entry.watched and answered


def refuse_without_server(run: Run) -> None:
    """Raises ``ConfigurationError``: a share of no traffic is no canary."""
    name, servers = run.spec.name, run.adapters.servers
    withdrawn = servers.withdrawn(name)
    if withdrawn is not None or not servers.requested(name):
        raise ConfigurationError(
            f"serving.canary: {name} has no server ({withdrawn or 'none was asked for'}), and a canary is a share of "
            f"what it is asked; `ratchet deploy {name}` starts one, or leave serving.canary out"
        )


def moved(name: str, chain: Chain) -> str:
    """Why a canary is over that another promotion ended."""
    now = chain.head.entry if chain.head is not None else None
    who = f"{now.actor} made version {now.version} champion (generation {now.generation})" if now else "nobody serves"
    return f"the canary of {name} is over: {who} since; run it again to be judged against that one"


@step("Watch the canary", retries=1)
def watch_canary(run: Run, within_s: float) -> WatchedCanary:
    """Look, and do what follows, until it is over or `within_s` seconds have passed."""
    watch = CanaryWatch.of(run.spec.serving, run.spec.policy)
    assert watch is not None, "asked for a pipeline that declares a canary"
    deadline, replayed_s, reader = time.monotonic() + within_s, 0.0, canary_reader(run.adapters)
    while True:
        entry, chain, over = going_on(run.adapters, run.spec.name)
        if entry is None:
            raise GateRefusedError(f"the canary of {run.spec.name} is gone from the bucket; run it again")
        if not entry.watched:
            return WatchedCanary(entry=entry, live=answer_of(run, entry), words=entry.reason)
        if over and time.time() < entry.expires_s:
            raise LedgerConflict(moved(run.spec.name, chain))
        looked = look_now(reader, watch, entry, chain)
        move = looked.move
        if move.do == "replay":
            if time.monotonic() - replayed_s > REPLAY_AGAIN_S:
                replay(run, entry, chain, move)
                replayed_s = time.monotonic()
                deadline = max(deadline, replayed_s + within_s)
        elif move.do != "wait":
            entry = take(run, watch, entry, chain, move, looked.live, looked.results)
            continue
        if time.monotonic() >= deadline:
            return WatchedCanary(entry=entry, live=None, words=move.why)
        time.sleep(POLL_S)


def take(
    run: Run,
    watch: CanaryWatch,
    entry: CanaryEntry,
    chain: Chain,
    move: Move,
    live: LiveEvidence,
    results: tuple[object, ...],
) -> CanaryEntry:
    """Do what follows from a look: one entry of the chain."""
    canary, now_s = canary_of(run.adapters, run.spec.name), time.time()
    if move.do == "share":
        return canary.give_share(entry, watch.canary, move.step, move.why, now_s=now_s)
    if move.do == "settle":
        return canary.settle(entry, live, move.why, now_s=now_s)
    assert move.outcome is not None, move
    champion = chain.links[entry.generation - 1].entry.version
    return canary.end(
        entry,
        move.outcome,
        move.why,
        champion=champion,
        actor="canary",
        now_s=now_s,
        live=live,
        results=results,  # type: ignore[arg-type]  # of the look
    )


def answer_of(run: Run, entry: CanaryEntry) -> LiveEvidence:
    """What the champion gate reads. Raises ``GateRefusedError`` for a canary that was ended without evidence."""
    if not entry.evidence:
        raise GateRefusedError(
            f"the canary of version {entry.version} of {entry.name} was ended by {entry.actor}: {entry.reason} "
            f"(decision {entry.decision[:12]})"
        )
    return thaw_live(run.adapters.store, entry.evidence)


def replay(run: Run, entry: CanaryEntry, chain: Chain, move: Move) -> None:
    """Send recorded requests to the live server, marked as ours."""
    entries = [link.entry for link in chain.links]
    champion = entries[entry.generation - 1].version
    bodies = [
        one.body for one in requests_of(run.adapters.store, entries, champion) if one.expect == "answer" and one.body
    ]
    url = run.adapters.servers.url(run.spec.name)
    if url is None or not bodies:
        raise GateRefusedError(
            f"the canary of {entry.name} has no traffic, and on_no_traffic: replay has nothing to send "
            f"({'no server' if url is None else f'no requests of version {champion} are known'})"
        )
    send_replayed(url, bodies, count=move.count, salt=entry.work_key, share=entry.share)


def close_canary(run: Run, why: str) -> None:
    """End this run's canary, where it still has one: the run is over and has promoted nothing."""
    entry, chain, over = going_on(run.adapters, run.spec.name)
    if entry is None or over or entry.run != run.run_id:
        return
    champion = chain.links[entry.generation - 1].entry.version
    canary_of(run.adapters, run.spec.name).end(
        entry, "inconclusive", f"its run ended: {why}", champion=champion, actor="canary", now_s=time.time()
    )
    assert why_over(canary_of(run.adapters, run.spec.name).newest(), chain, now_s=time.time())
