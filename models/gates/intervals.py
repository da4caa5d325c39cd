"""Estimates as the checks use them: a value, its bounds at any error probability, or the reason why there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlratchet.models.evaluation.statistics.choose import confidence_of, confidence_of_difference
from mlratchet.models.evaluation.statistics.interval import Confidence, NoConfidence
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN


class Mirrored(Confidence):
    """Bounds of minus a quantity."""

    def __init__(self, inner: Confidence) -> None:
        self.inner = inner
        self.method, self.units, self.doubt, self.undefined = inner.method, inner.units, inner.doubt, inner.undefined

    def low(self, alpha: float) -> float:
        """Minus the upper bound."""
        return 0.0 - self.inner.high(alpha)

    def high(self, alpha: float) -> float:
        """Minus the lower bound."""
        return 0.0 - self.inner.low(alpha)

    def p_greater(self, x: float) -> float:
        """Minus the quantity is greater when the quantity is less."""
        return self.inner.p_less(-x)

    def p_less(self, x: float) -> float:
        """Minus the quantity is less when the quantity is greater."""
        return self.inner.p_greater(-x)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A value over n rows. `why` says why there is no value, `bounds.doubt` why its bounds cannot be used."""

    value: float
    n: int
    bounds: Confidence
    seed: int | None = None
    detail: str = ""
    why: str = ""

    @property
    def why_no_bound(self) -> str:
        """Why the bounds are no evidence; empty when they are."""
        return self.why or self.bounds.doubt

    def interval(self, confidence: float) -> tuple[float, float] | None:
        """Both ends of the two-sided interval; None where it cannot be used or has an end at infinity."""
        if self.why_no_bound:
            return None
        found = self.bounds.interval(confidence)
        return (found.low, found.high) if math.isfinite(found.low) and math.isfinite(found.high) else None

    def span(self, confidence: float) -> str:
        """The interval in words."""
        ends = self.interval(confidence)
        if ends is None:
            undefined = f"undefined in {self.bounds.undefined} resamples"
            return f"no interval: {self.why_no_bound or undefined}"
        return f"interval {ends[0]:.4f} to {ends[1]:.4f}, {self.bounds.method}"


def estimate_of(metric: Metric, rows: RowOutputs, *, resamples: int, seed: int) -> Estimate:
    """The metric over the rows."""
    found = metric.estimate(rows)
    if not math.isfinite(found.value):
        return Estimate(value=math.nan, n=found.n, bounds=NoConfidence(found.reason), why=found.reason)
    bounds = confidence_of(metric, rows, resamples=resamples, seed=seed, cluster=cluster_of(metric, rows))
    return Estimate(value=found.value, n=found.n, bounds=bounds, seed=_seed(bounds, seed))


def gain_of(metric: Metric, ours: RowOutputs, theirs: RowOutputs, *, resamples: int, seed: int) -> Estimate:
    """How much better `ours` is than `theirs` on the same rows: positive is better, whatever the metric's direction."""
    a, b = metric.estimate(ours), metric.estimate(theirs)
    if not (math.isfinite(a.value) and math.isfinite(b.value)):
        why = a.reason or b.reason
        return Estimate(value=math.nan, n=a.n, bounds=NoConfidence(why), why=why)
    bounds = confidence_of_difference(
        metric, ours, theirs, resamples=resamples, seed=seed, cluster=cluster_of(metric, ours)
    )
    gained, lost = getattr(bounds, "gained", None), getattr(bounds, "lost", None)
    higher = metric.direction == "higher"
    return Estimate(
        value=a.value - b.value if higher else b.value - a.value,
        n=a.n,
        bounds=bounds if higher else Mirrored(bounds),
        seed=_seed(bounds, seed),
        detail=f", {gained} gained and {lost} lost" if gained is not None else "",
    )


def cluster_of(metric: Metric, rows: RowOutputs) -> str | None:
    """The column of groups whose rows belong together (`source.group_column`); None where every row stands alone."""
    groups = rows.columns.get(GROUP_COLUMN)
    if groups is None or metric.group_column is not None or len(set(groups)) == len(groups):
        return None
    return GROUP_COLUMN


def _seed(bounds: Confidence, seed: int) -> int | None:
    return seed if "bootstrap" in bounds.method else None
