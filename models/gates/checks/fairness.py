"""`fairness`: the largest gap of a metric between groups of rows.

The groups share no rows, so the interval of a difference follows from the two groups' own intervals: Newcombe (1998),
Statistics in Medicine 17, method 10 for proportions; Zou and Donner (2008), Statistics in Medicine 27, for any metric
(MOVER). Every ordered pair of G groups is looked at, so each is taken at alpha / (G (G - 1)) (Bonferroni).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import permutations
from typing import Literal

from mlratchet.models.evaluation.slices import group_rows, require_columns
from mlratchet.models.gates.checks.base import SCORED_GATES, Needs, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.slices import MOST_SLICES, labels_of
from mlratchet.models.gates.checks.statistical import OnMetric
from mlratchet.models.gates.intervals import Estimate, estimate_of
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.result import CheckResult, Part, Verdict, unknown
from mlratchet.models.metrics import Metric
from pydantic import Field


class FairnessCheck(OnMetric):
    """The best and the worst group differ by at most `maximum_gap`."""

    gates = SCORED_GATES
    wears = True
    levels = ()
    margins = ("maximum_gap",)

    kind: Literal["fairness"]
    by: tuple[str, ...] = Field(min_length=1, strict=False)
    """Columns; a group is every combination of their values that occurs."""
    maximum_gap: float = Field(gt=0)
    """In the metric's unit."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the gap must hold."""
    minimum_rows: int = Field(default=30, ge=2)
    """A group with fewer is inconclusive."""

    def needs(self) -> Needs:
        """The columns, and the metric of every group."""
        return Needs(columns=self.by, slices=((self.metric, self.by, None),))

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """Columns that a row carries."""
        super().validate_in(context, where)
        if context.columns is not None:
            require_columns(self.by, context.columns, where)

    def power_of(self, metric: Metric, pilot: Pilot) -> str:  # noqa: ARG002
        """Whether the smallest group is large enough to be looked at."""
        labels = labels_of(pilot.ours, self.by, None) if pilot.ours is not None else []
        if isinstance(labels, str) or not labels:
            return labels if isinstance(labels, str) else ""
        label, n = min(Counter(labels).items(), key=lambda item: (item[1], item[0]))
        few = n < self.minimum_rows
        return f"group {label} has {n} rows, below minimum_rows {self.minimum_rows}: inconclusive" if few else ""

    def judge(self, case: Case) -> CheckResult:
        """The gap between the best and the worst group, or its upper bound, against the maximum."""
        threshold = f"<= {self.maximum_gap:g} between groups"
        metric, rows = case.metrics.get(self.metric), case.evidence.candidate
        if metric is None:
            return unknown(self.kind, self.metric, "?", f"unknown metric; there are {', '.join(case.metrics)}")
        why = case.rows_refused(rows, "candidate")
        if why or rows is None:
            return unknown(self.kind, self.metric, threshold, why)
        labels = labels_of(rows, self.by, None)
        if isinstance(labels, str):
            return unknown(self.kind, self.metric, threshold, labels, len(rows.ids))
        if not 2 <= len(set(labels)) <= MOST_SLICES:
            groups = f"{len(set(labels))} groups by {', '.join(self.by)}, expected 2 to {MOST_SLICES}"
            return unknown(self.kind, self.metric, threshold, groups, len(rows.ids))
        pairs = len(set(labels)) * (len(set(labels)) - 1)
        confidence = 1 - (1 - case.confidence(self)) / pairs
        found = {
            label: estimate_of(metric, group, resamples=case.resamples(self, confidence), seed=self.seed)
            for label, group in group_rows(rows, labels).items()
        }
        small = [f"{label} has {one.n} rows, fewer than {self.minimum_rows}" for label, one in found.items()
                 if one.n < self.minimum_rows]  # fmt: skip
        undefined = [f"{label}: {one.why}" for label, one in found.items() if one.why]
        if small or undefined:
            return unknown(self.kind, self.metric, threshold, "; ".join((small + undefined)[:3]), len(rows.ids))
        return self._judged(case, threshold, found, 2 * confidence - 1, len(rows.ids))

    def _judged(self, case: Case, threshold: str, found: dict[str, Estimate], confidence: float, n: int) -> CheckResult:
        best = max(found, key=lambda label: found[label].value)
        worst = min(found, key=lambda label: found[label].value)
        gap = found[best].value - found[worst].value
        interval, compare = gap_interval(found, confidence), case.compare(self.compare)
        if compare == "interval" and interval is None:
            without = next(one.span(confidence) for one in found.values() if one.interval(confidence) is None)
            return unknown(self.kind, self.metric, threshold, without, n)
        verdict: Verdict = "pass" if gap <= self.maximum_gap else "fail"
        words = "<=" if verdict == "pass" else ">"
        if compare == "interval" and interval is not None:
            if interval[1] <= self.maximum_gap:
                verdict, words = "pass", f"upper bound {interval[1]:.4f} <="
            elif interval[0] > self.maximum_gap:
                verdict, words = "fail", f"lower bound {interval[0]:.4f} >"
            else:
                verdict, words = "inconclusive", f"upper bound {interval[1]:.4f} not surely <="
        method = "Newcombe / MOVER, Bonferroni over pairs" if interval is not None else "estimate"
        return CheckResult(
            kind=self.kind,
            metric=self.metric,
            verdict=verdict,
            reason=(
                f"{self.metric} gap {gap:.4f} {words} {self.maximum_gap:g}: {best} {found[best].value:.4f} "
                f"(n={found[best].n}), {worst} {found[worst].value:.4f} (n={found[worst].n}); {len(found)} groups"
            ),
            threshold=threshold,
            value=gap,
            interval=interval,
            interval_level=2 * case.confidence(self) - 1,
            n=n,
            method=f"{method}; {found[best].bounds.method}",
            seed=found[best].seed,
            parts=tuple(
                Part(label=label, verdict="not_applicable", n=one.n, value=one.value, interval=one.interval(confidence))
                for label, one in found.items()
            ),
        )


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
