"""`fairness`: the largest gap of a metric between groups of rows.

The groups share no rows, so the interval of a difference follows from the two groups' own intervals: Newcombe (1998),
Statistics in Medicine 17, method 10 for proportions; Zou and Donner (2008), Statistics in Medicine 27, for any metric
(MOVER). Every ordered pair of G groups is looked at, so each is taken at alpha / (G (G - 1)) (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import permutations
from typing import Literal

from mlratchet.models.evaluation.slices import group_rows
from mlratchet.models.gates.checks.base import Statistical
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.slices import MOST_SLICES, labels_of
from mlratchet.models.gates.intervals import Estimate, estimate_of
from mlratchet.models.gates.result import CheckResult, Part, Verdict, unknown
from pydantic import Field


class FairnessCheck(Statistical):
    """The best and the worst group differ by at most `maximum_gap`."""

    kind: Literal["fairness"]
    metric: str
    by: tuple[str, ...] = Field(min_length=1, strict=False)
    """Columns; a group is every combination of their values that occurs."""
    maximum_gap: float = Field(gt=0)
    """In the metric's unit."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the gap must hold."""
    minimum_rows: int = Field(default=30, ge=2)
    """A group with fewer is inconclusive."""


def judge_fairness(check: FairnessCheck, case: Case) -> CheckResult:
    """The gap between the best and the worst group, or its upper bound, against the maximum."""
    threshold = f"<= {check.maximum_gap:g} between groups"
    metric, rows = case.metrics.get(check.metric), case.evidence.candidate
    if metric is None:
        return unknown(check.kind, check.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
    why = case.rows_refused(rows, "candidate")
    if why or rows is None:
        return unknown(check.kind, check.metric, threshold, why)
    labels = labels_of(rows, check.by, None)
    if isinstance(labels, str):
        return unknown(check.kind, check.metric, threshold, labels, len(rows.ids))
    if not 2 <= len(set(labels)) <= MOST_SLICES:
        groups = f"{len(set(labels))} groups by {', '.join(check.by)}, expected 2 to {MOST_SLICES}"
        return unknown(check.kind, check.metric, threshold, groups, len(rows.ids))
    pairs = len(set(labels)) * (len(set(labels)) - 1)
    confidence = 1 - (1 - case.confidence(check)) / pairs
    found = {
        label: estimate_of(metric, group, resamples=case.resamples(check, confidence), seed=check.seed)
        for label, group in group_rows(rows, labels).items()
    }
    small = [f"{label} has {one.n} rows, fewer than {check.minimum_rows}" for label, one in found.items()
             if one.n < check.minimum_rows]  # fmt: skip
    undefined = [f"{label}: {one.why}" for label, one in found.items() if one.why]
    if small or undefined:
        return unknown(check.kind, check.metric, threshold, "; ".join((small + undefined)[:3]), len(rows.ids))
    return _judged(check, case, threshold, found, 2 * confidence - 1, len(rows.ids))


def gap_interval(found: Mapping[str, Estimate], confidence: float) -> tuple[float, float] | None:
    """(lower, upper) bounds of the largest difference between two groups, whose intervals are at `confidence`."""
    ends = {label: one.interval(confidence) for label, one in found.items()}
    lows, highs = [0.0], [0.0]
    for a, b in permutations(found, 2):
        ours, theirs = ends[a], ends[b]
        if ours is None or theirs is None:
            return None
        difference = found[a].value - found[b].value
        lows.append(difference - math.hypot(found[a].value - ours[0], theirs[1] - found[b].value))
        highs.append(difference + math.hypot(ours[1] - found[a].value, found[b].value - theirs[0]))
    return max(lows), max(highs)


def _judged(
    check: FairnessCheck, case: Case, threshold: str, found: dict[str, Estimate], confidence: float, n: int
) -> CheckResult:
    best = max(found, key=lambda label: found[label].value)
    worst = min(found, key=lambda label: found[label].value)
    gap = found[best].value - found[worst].value
    interval, compare = gap_interval(found, confidence), case.compare(check.compare)
    if compare == "interval" and interval is None:
        without = next(one.span(confidence) for one in found.values() if one.interval(confidence) is None)
        return unknown(check.kind, check.metric, threshold, without, n)
    verdict: Verdict = "pass" if gap <= check.maximum_gap else "fail"
    words = "<=" if verdict == "pass" else ">"
    if compare == "interval" and interval is not None:
        if interval[1] <= check.maximum_gap:
            verdict, words = "pass", f"upper bound {interval[1]:.4f} <="
        elif interval[0] > check.maximum_gap:
            verdict, words = "fail", f"lower bound {interval[0]:.4f} >"
        else:
            verdict, words = "inconclusive", f"upper bound {interval[1]:.4f} not surely <="
    method = "Newcombe / MOVER, Bonferroni over pairs" if interval is not None else "estimate"
    return CheckResult(
        kind=check.kind,
        metric=check.metric,
        verdict=verdict,
        reason=(
            f"{check.metric} gap {gap:.4f} {words} {check.maximum_gap:g}: {best} {found[best].value:.4f} "
            f"(n={found[best].n}), {worst} {found[worst].value:.4f} (n={found[worst].n}); {len(found)} groups"
        ),
        threshold=threshold,
        value=gap,
        interval=interval,
        n=n,
        method=f"{method}; {found[best].bounds.method}",
        seed=found[best].seed,
        parts=tuple(
            Part(label=label, verdict="not_applicable", n=one.n, value=one.value, interval=one.interval(confidence))
            for label, one in found.items()
        ),
    )
