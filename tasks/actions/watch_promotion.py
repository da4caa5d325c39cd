"""Watch a promotion on live evidence, and go back by a signed decision when it disappoints."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.canonical import digest
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import labelled
from mlratchet.models.inference_log.reading import LogStretch, read_log
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ledger.undo import version_before
from mlratchet.models.monitoring.config import ProbationConfig
from mlratchet.models.monitoring.probation import Lived, judge_probation, lived
from mlratchet.tasks.actions.roll_back import roll_back
from mlratchet.tasks.support.brought import brought
from mlratchet.tasks.wiring import Adapters

ACTOR = "probation"
COLUMNS = (
    "request_id", "row", "received_s", "version", "generation", "variant", "status", "replayed", "answer",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class WatchedPromotion:
    """What was seen of one promotion."""

    generation: int
    version: int
    results: tuple[CheckResult, ...] = ()
    broken: str = ""  # why the log of this time is no evidence
    went_back: dict[str, Any] | None = None  # the ledger entry


def watch_promotion(
    adapters: Adapters,
    pipeline: str,
    config: ProbationConfig,
    labels: LabelsConfig | None = None,
    *,
    now_s: float | None = None,
) -> WatchedPromotion | None:
    """Judge the newest promotion while it is watched; None when nothing is: no champion, nothing to go back to, the
    time is over, or somebody went back already.

    Args:
        adapters: Where.
        pipeline: Whose.
        config: The `monitoring.probation` that is deployed.
        labels: The `serving.labels` that is deployed.
        now_s: Seconds since the epoch; the clock of this process without it.
    """
    now = time.time() if now_s is None else now_s
    entries = adapters.ledger.entries(pipeline)
    if len(entries) < 2 or entries[-1].action != "promote" or version_before(entries) is None:
        return None
    head, before = entries[-1], entries[-2]
    if now - head.at_s > config.seconds:
        return None
    stretches = (
        stretch(adapters, pipeline, head, since_s=head.at_s, until_s=now),
        stretch(adapters, pipeline, before, since_s=max(before.at_s, head.at_s - config.seconds), until_s=head.at_s),
    )
    broken = "; ".join(problem for one in stretches for problem in one.problems)
    if broken:
        return WatchedPromotion(generation=head.generation, version=head.version, broken=broken)
    after, earlier = (
        said_by(adapters, one, entry, labels or LabelsConfig(), now)
        for one, entry in zip(stretches, (head, before), strict=True)
    )
    results = tuple(judge_probation(after, earlier, config))
    failed = [one for one in results if one.verdict == "fail"]
    went_back = None
    if failed:
        went_back = go_back(adapters, head, results, [name for one in stretches for name in one.digests])
    return WatchedPromotion(generation=head.generation, version=head.version, results=results, went_back=went_back)


def stretch(adapters: Adapters, pipeline: str, entry: LedgerEntry, *, since_s: float, until_s: float) -> LogStretch:
    """Rows of one version."""
    return read_log(
        adapters.store,
        adapters.keys,
        pipeline,
        version=entry.version,
        since_s=since_s,
        until_s=until_s,
        columns=COLUMNS,
    )


def said_by(adapters: Adapters, one: LogStretch, entry: LedgerEntry, labels: LabelsConfig, now_s: float) -> Lived:
    """What a version did in a stretch."""
    known = labelled(one, adapters.store, adapters.keys, labels, now_s=now_s, brought=brought(adapters, labels))
    return lived(one.table, known.table, version=entry.version)


def go_back(
    adapters: Adapters, head: LedgerEntry, results: tuple[CheckResult, ...], files: list[str]
) -> dict[str, Any] | None:
    """The version before is champion again; None when another promotion came first: it is not this one's to undo."""
    why = "; ".join(one.reason for one in results if one.verdict == "fail")
    try:
        return roll_back(
            adapters,
            head.name,
            to=None,
            reason=f"version {head.version} failed its probation on live requests: {why}"[:1000],
            actor=ACTOR,
            from_generation=head.generation,
            results=results,
            digests={"log": digest(sorted(files))},
        )
    except LedgerConflict:
        return None


def in_words(watched: WatchedPromotion) -> str:
    """One line."""
    what = f"probation of version {watched.version} (generation {watched.generation})"
    if watched.broken:
        return f"{what}: the log of its time is no evidence: {watched.broken}"
    if watched.went_back is not None:
        return f"{what}: {watched.went_back['reason']}; version {watched.went_back['version']} is champion again"
    return f"{what}: {'; '.join(one.reason for one in watched.results) or 'nothing is asked'}"
