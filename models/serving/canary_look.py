"""One look at a canary: its live evidence from the inference log, what the live checks say of it, and what follows.

Whoever looks reads the same: the run that watches it, the worker that resumes that run, and `ratchet canary`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
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
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.brought import brought_labels
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import labelled
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.chain import Seen, newest_canary
from mlratchet.models.promotion.canary.config import CanaryConfig, live_checks
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.plan import Move, next_move
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.live_evidence import COLUMNS, LiveCounts, live_evidence
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


def look(
    store: ObjectStore,
    keys: Keys,
    watch: CanaryWatch,
    entry: CanaryEntry,
    chain: Chain,
    *,
    now_s: float,
    labels_in: ObjectStore | None = None,
    stopped: str = "",
) -> Looked:
    """Evidence up to the moment up to which the log is complete, its checks, and the one thing to do.

    Args:
        store: The store bucket.
        keys: Whom to believe.
        watch: Of the pipeline.
        entry: The newest of its canary, which was made under an entry of `chain`.
        chain: The ledger.
        now_s: The clock, seconds since the epoch.
        labels_in: The bucket into which labels are brought as objects, where the file declares a prefix.
        stopped: Who ends it, and why.
    """
    champion = chain.links[entry.generation - 1].entry.version
    stretch = read_log(
        store, keys, entry.name, since_s=entry.began_s, until_s=max(now_s, entry.began_s), columns=COLUMNS
    )
    quality = any(isinstance(check, LiveQualityCheck) for check in watch.checks)
    labels = None
    if quality and stretch.table.num_rows:
        brought = brought_labels(labels_in, watch.labels) if labels_in is not None else None
        labels = labelled(stretch, store, keys, watch.labels, now_s=now_s, brought=brought)
    problems = (*stretch.problems, *(labels.problems if labels is not None else ()))
    live = live_evidence(
        stretch.table,
        labels.table if labels is not None else None,
        LiveCounts.of(watch.checks),
        entry,
        champion_version=champion,
        minimum_requests=watch.canary.minimum_requests,
        until_s=min(now_s, stretch.settled_s if stretch.settled_s is not None else math.inf),
        files=stretch.digests,
        dropped=stretch.dropped,
        broken="; ".join(problems[:3]),
        stopped=stopped,
    )
    results = results_of(watch.checks, live)
    return Looked(live=live, results=results, move=next_move(watch.canary, entry, live, results, now_s=now_s))


def results_of(checks: tuple[LiveCheck, ...], live: LiveEvidence) -> tuple[CheckResult, ...]:
    """The live checks alone, as the champion gate judges them."""
    evidence = Evidence(version=live.version, canary=live)
    return judge("champion", checks, evidence, first_model=False, task="", class_names=()).checks


def canary_goes_on(
    store: ObjectStore,
    keys: Keys,
    chain: Chain,
    waiting: WaitingRun,
    *,
    seen: Seen,
    now_s: float,
    labels_in: Callable[[LabelsConfig], ObjectStore | None] = lambda _: None,
) -> str:
    """Why a run whose version is in its canary has to be taken up again; empty while it waits.

    Args:
        store: A `RecordStore`.
        keys: Whom to believe.
        chain: The ledger of the pipeline.
        waiting: What the run wrote down.
        seen: The newest entry of the canary that this installation has seen.
        now_s: The clock, seconds since the epoch.
        labels_in: Opens the bucket into which labels are brought; None where none are.

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
    watch = CanaryWatch.model_validate_json(waiting.watch)
    move = look(store, keys, watch, entry, chain, now_s=now_s, labels_in=labels_in(watch.labels)).move
    return "" if move.do == "wait" else move.why
