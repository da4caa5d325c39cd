"""One look at a canary: its live evidence from the inference log, what the live checks say of it, and what follows.

Whoever looks reads the same: the run that watches it, the worker that resumes that run, and `ratchet canary`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

from mlratchet.models.config import StrictModel
from mlratchet.models.decisions.waiting import WaitingRun
from mlratchet.models.gates.checks.live import LiveCheck
from mlratchet.models.gates.checks.live_disagreement import LiveDisagreementCheck
from mlratchet.models.gates.checks.live_errors import LiveErrorsCheck
from mlratchet.models.gates.checks.live_latency import LiveLatencyCheck
from mlratchet.models.gates.checks.live_quality import LiveQualityCheck
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.judge import judge
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.signed_chain import Seen
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.chain import newest_canary
from mlratchet.models.promotion.canary.config import CanaryConfig, live_checks
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.plan import Move, next_move
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.models.serving.canary_reader import CanaryReader
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.live_evidence import LiveCounts, live_evidence
from pydantic import Field

AnyLive = Annotated[
    LiveErrorsCheck | LiveLatencyCheck | LiveDisagreementCheck | LiveQualityCheck, Field(discriminator="kind")
]


class CanaryWatch(StrictModel):
    """What of a pipeline file a look needs. It names no code of the user's, so that any process may hold it."""

    canary: CanaryConfig
    checks: Annotated[tuple[AnyLive, ...], Field(strict=False)]
    labels: LabelsConfig = LabelsConfig()

    @classmethod
    def of(cls, serving: ServingConfig, gates: GatePolicy) -> CanaryWatch | None:
        """None where the file declares no canary."""
        if serving.canary is None:
            return None
        checks = [one.model_dump(mode="json") for one in live_checks(gates)]
        labels = serving.labels or LabelsConfig()
        return cls.model_validate({"canary": serving.canary, "checks": checks, "labels": labels})


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What was found."""

    live: LiveEvidence
    results: tuple[CheckResult, ...]
    move: Move
    arrived: LiveEvidence | None = None  # with what has come and is not complete yet


def look(
    reader: CanaryReader,
    watch: CanaryWatch,
    entry: CanaryEntry,
    chain: Chain,
    *,
    now_s: float,
    stopped: str = "",
) -> Looked:
    """Evidence up to the moment up to which the log is complete, its checks, and the one thing to do.

    What came later and is in the log already lets it go on to the next share, and pulls it back; it settles nothing.

    Args:
        reader: Of the log; whoever looks again hands over the same one, which reads what is new.
        watch: Of the pipeline.
        entry: The newest of its canary, which was made under an entry of `chain`.
        chain: The ledger.
        now_s: The clock, seconds since the epoch.
        stopped: Who ends it, and why.
    """
    found = _looked(reader, watch, entry, chain, now_s=now_s, stopped=stopped)
    if found.move.do != "settle":
        return found
    reader.begin_anew()  # rows that came late are evidence, too: what settles it is read as a whole, once
    return _looked(reader, watch, entry, chain, now_s=now_s, stopped=stopped)


def _looked(
    reader: CanaryReader, watch: CanaryWatch, entry: CanaryEntry, chain: Chain, *, now_s: float, stopped: str
) -> Looked:
    champion = chain.links[entry.generation - 1].entry.version
    quality = any(isinstance(check, LiveQualityCheck) for check in watch.checks)
    stretch, labels = reader.read(entry, watch.labels, quality=quality, now_s=now_s)
    problems = (*stretch.problems, *(labels.problems if labels is not None else ()))

    def until(moment_s: float) -> tuple[LiveEvidence, tuple[CheckResult, ...]]:
        live = live_evidence(
            stretch.table,
            labels.table if labels is not None else None,
            LiveCounts.of(watch.checks),
            entry,
            champion_version=champion,
            minimum_requests=watch.canary.minimum_requests,
            until_s=moment_s,
            files=stretch.digests,
            dropped=stretch.dropped,
            broken="; ".join(problems[:3]),
            stopped=stopped,
        )
        return live, results_of(watch.checks, live)

    live, results = until(min(now_s, stretch.settled_s if stretch.settled_s is not None else math.inf))
    arrived, first_results = until(now_s)
    if any(one.verdict == "fail" for one in first_results):  # a bad one is not given clients until all is complete
        live, results = arrived, first_results
    else:  # each check sends back by the one reading and passes by the other: neither is wrong more often for it
        results = tuple(replace(one, verdict="inconclusive") if one.verdict == "fail" else one for one in results)
    move = next_move(watch.canary, entry, live, results, now_s=now_s, arrived=arrived)
    return Looked(live=live, results=results, move=move, arrived=arrived)


def results_of(checks: tuple[LiveCheck, ...], live: LiveEvidence) -> tuple[CheckResult, ...]:
    """The live checks alone, as the champion gate judges them."""
    evidence = Evidence(version=live.version, canary=live)
    return judge("champion", checks, evidence, first_model=False, task="", class_names=()).checks


def canary_goes_on(
    store: ObjectStore, reader: CanaryReader, chain: Chain, waiting: WaitingRun, *, seen: Seen, now_s: float
) -> str:
    """Why a run whose version is in its canary has to be taken up again; empty while it waits.

    Args:
        store: A `RecordStore`.
        reader: Of the log, as of `look`.
        chain: The ledger of the pipeline.
        waiting: What the run wrote down.
        seen: The newest entry of the canary that this installation has seen.
        now_s: The clock, seconds since the epoch.

    Raises ``SecurityError`` for a canary that cannot be relied on.
    """
    if now_s >= waiting.until_s:
        return "the time of its canary is over"
    entry = newest_canary(store, waiting.pipeline, seen=seen)
    if entry is None or entry.run != waiting.run or not entry.watched:
        return "its canary is over"
    over = why_over(entry, chain, now_s=now_s)
    if over:
        return f"its canary is over: {over}"
    move = look(reader, CanaryWatch.model_validate_json(waiting.watch), entry, chain, now_s=now_s).move
    return "" if move.do == "wait" else move.why
