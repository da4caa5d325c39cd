"""What a person and a timer do with a canary: show it, stop it, and end one whose run is gone."""

from __future__ import annotations

import getpass
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mlratchet.infra.machine.scratch import is_gone
from mlratchet.models.decisions.waiting import waiting_of
from mlratchet.models.errors import ConfigurationError, GateRefusedError, RatchetError, SecurityError
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.lease import live_leases
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.moments import utc
from mlratchet.models.pipeline.store import load_pipeline, newest_deployment
from mlratchet.models.ports.storage import ObjectExists
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.evidence import thaw_live
from mlratchet.models.registration.record import find_registration
from mlratchet.models.serving.canary_look import CanaryWatch, Looked, results_of
from mlratchet.tasks.support.canaries import canary_of, canary_reader, going_on, look_now
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters

LEAST_REASON = 3  # characters
MOST_MOVES = 20  # of a canary while somebody stops it


def watch_of(adapters: Adapters, entry: CanaryEntry) -> CanaryWatch | None:
    """By the file that the version was made with; None where that declares no canary any more."""
    record = find_registration(adapters.store, entry.work_key)
    revisions = [record.revision] if record is not None else []
    deployed = newest_deployment(adapters.store, entry.name)
    revisions += [deployed.revision] if deployed is not None else []
    for revision in revisions:
        with suppress(ConfigurationError):
            spec = load_pipeline(adapters.store, revision)
            watch = CanaryWatch.of(spec.serving, spec.policy)
            if watch is not None:
                return watch
    return None


def show_canary(adapters: Adapters, pipeline: str) -> dict[str, Any]:
    """The newest entry, what was seen so far, each live check, and what follows. None of it is changed."""
    entry, chain, over = going_on(adapters, pipeline)
    if entry is None:
        require_pipeline(adapters, pipeline)
        return {"pipeline": pipeline, "canary": None, "over": over}
    told: dict[str, Any] = {"pipeline": pipeline, "canary": entry.model_dump(mode="json"), "over": over}
    if entry.watched and not over:
        watch = watch_of(adapters, entry)
        if watch is None:
            raise ConfigurationError(f"no file of {pipeline} declares serving.canary; `ratchet canary --stop` ends it")
        told |= seen(look_now(canary_reader(adapters), watch, entry, chain))
    return told


def seen(looked: Looked) -> dict[str, Any]:
    """Of a look."""
    live, arrived = looked.live, looked.arrived or looked.live
    return {
        "live": {
            "requests": live.requests,
            "arrived": arrived.requests,
            "minimum_requests": live.minimum_requests,
            "shadowed": arrived.shadowed,
            "replayed": live.replayed,
            "until_s": live.until_s,
        },
        "checks": [
            {"kind": one.kind, "verdict": one.verdict, "reason": one.reason, "n": one.n} for one in looked.results
        ],
        "next": {"do": looked.move.do, "why": looked.move.why},
    }


def lines_of(told: dict[str, Any]) -> list[str]:
    """For people."""
    entry = told["canary"]
    if entry is None:
        return [f"{told['pipeline']} has no canary"]
    share = f", {100 * entry['share']:g} % of the clients" if entry["share"] else ""
    when = f"since {utc(entry['began_s'])}, until {utc(entry['expires_s'])}"
    lines = [
        f"version {entry['version']}: {entry['phase']}{share}, {when} (run {entry['run']})",
        f"  {entry['actor']}: {entry['reason']}",
    ]
    if told["over"]:
        return [*lines, f"  over: {told['over']}"]
    if "live" in told:
        live = told["live"]
        lines.append(
            f"  {live['requests']} of {live['minimum_requests']} live requests whose time is complete in the log, "
            f"{live['arrived']} have come; {live['shadowed']} in the shadow, {live['replayed']} replayed"
        )
        lines += [f"  {one['verdict']:12}  {one['reason']}" for one in told["checks"]]
        lines.append(f"  next: {told['next']['do']}: {told['next']['why']}")
    return lines


def stop_canary(adapters: Adapters, pipeline: str, *, reason: str, actor: str | None = None) -> dict[str, Any]:
    """A person ends it: a signed decision, then an entry; the version fails its champion gate.

    Raises ``ConfigurationError`` without a reason, ``GateRefusedError`` where nothing is to be stopped.
    """
    if len(reason.strip()) < LEAST_REASON:
        raise ConfigurationError(f"--reason: say why, got {reason.strip()!r}; it stands in the decision")
    for _ in range(MOST_MOVES):
        with suppress(ObjectExists):  # its run moved it on meanwhile: what came then is stopped
            return _stopped(adapters, pipeline, reason, actor or getpass.getuser())
    return _stopped(adapters, pipeline, reason, actor or getpass.getuser())


def _stopped(adapters: Adapters, pipeline: str, reason: str, actor: str) -> dict[str, Any]:
    """Raises ``ObjectExists`` where another entry came meanwhile."""
    canary, head = canary_of(adapters, pipeline), adapters.ledger.head(pipeline)
    champion = head.version if head is not None else None
    try:
        entry, chain, over = going_on(adapters, pipeline)
    except SecurityError:  # what lies there was changed: an entry of ours after it ends whatever it says
        ended = canary.end_whatever(reason, champion=champion, actor=actor, now_s=time.time())
        return ended.model_dump(mode="json")
    if entry is None or over:
        raise GateRefusedError(f"{pipeline} has no canary to stop: {over}")
    live, results = None, tuple[CheckResult, ...]()
    with suppress(RatchetError):  # whatever the log is, it ends
        live, results = _against(adapters, entry, chain, f"stopped by {actor}: {reason.strip()}")
    ended = canary.end(
        entry, "fail", reason.strip(), champion=champion, actor=actor, now_s=time.time(), live=live, results=results
    )
    return ended.model_dump(mode="json")


def _against(
    adapters: Adapters, entry: CanaryEntry, chain: Chain, why: str
) -> tuple[LiveEvidence | None, tuple[CheckResult, ...]]:
    """What it has shown, with who stops it, and the checks that fail by that: also of one that stood its canary and
    waits for the decision of its gate, or of people."""
    watch = watch_of(adapters, entry)
    if watch is None:
        return None, ()
    if entry.watched:
        looked = look_now(canary_reader(adapters), watch, entry, chain, stopped=why)
        return looked.live, looked.results
    live = replace(thaw_live(adapters.store, entry.evidence), stopped=why)
    return live, results_of(watch.checks, live)


def end_orphan(adapters: Adapters, pipeline: str, *, but_of: str = "") -> list[str]:
    """End a canary whose run neither lives nor waits: nobody watches it. One line.

    `but_of`: a work key whose canary is taken over instead.
    """
    entry, chain, over = going_on(adapters, pipeline)
    if entry is None or over or entry.work_key == but_of or is_watched(adapters, entry):
        return []
    champion = chain.links[entry.generation - 1].entry.version
    why = f"its run {entry.run} is gone"
    canary_of(adapters, pipeline).end(
        entry, "inconclusive", why, champion=champion, actor="reconcile", now_s=time.time()
    )
    return [f"{pipeline}: the canary of version {entry.version} ended, {why}"]


def is_watched(adapters: Adapters, entry: CanaryEntry) -> bool:
    """Whether its run lives, or waits to be taken up again."""
    if any(held.lease.run == entry.run for held in live_leases(adapters.store, is_gone=is_gone)):
        return True
    return waiting_of(adapters.store, entry.name, entry.run, now_s=time.time()) is not None
