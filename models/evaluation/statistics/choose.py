"""The right method for each metric, and the interface that gates use.

- Shares of rows (accuracy, recall and precision of a class, subset accuracy): Clopper-Pearson for one model; Tango's
  score for two on the same rows, where both shares have the same denominator; its tail exact for few disagreements.
- ROC AUC: DeLong, on the logit scale for one model, paired for two.
- Shares over clusters, where the bootstrap cannot answer: the exact methods with a cluster counted as one row.
- All others, any metric over clusters, and rankings over queries: the bootstrap; BCa for one model, the wider of BCa
  and percentiles for the paired difference of two, all expanded by Student's t.

Where each holds its stated error was simulated: docs/statistics.md. Where it does not (too few units, or rows on which
two models differ; an estimate with a bias) the interval carries a `doubt`, and a check must answer inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from mlratchet.models.evaluation.statistics.bootstrap import bootstrap_confidence
from mlratchet.models.evaluation.statistics.class_shares import SharesOfClasses, is_of_shares
from mlratchet.models.evaluation.statistics.clustered import ClusteredPairs, ClusteredShare
from mlratchet.models.evaluation.statistics.delong import delong_confidence
from mlratchet.models.evaluation.statistics.exact_pairs import paired_share
from mlratchet.models.evaluation.statistics.interval import Confidence, Interval, NoConfidence, WiderConfidence
from mlratchet.models.evaluation.statistics.proportions import ExactBinomial
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.metrics.base import Array, CountMetric, Metric
from mlratchet.models.metrics.curves import RocAuc
from mlratchet.models.metrics.rows import RowOutputs


@dataclass(frozen=True, kw_only=True)
class PValue:
    """A one-sided p value; `doubt` as in `Interval`. `p_value` is 1 where nothing can be said."""

    p_value: float
    method: str
    units: int
    doubt: str = ""


def confidence_of(
    metric: Metric,
    rows: RowOutputs,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
    stratify: str | None = None,
) -> Confidence:
    """Bounds of one model's metric by the method that fits. `cluster` and `stratify` are columns of the rows."""
    estimate = metric.estimate(rows)
    if not math.isfinite(estimate.value):
        return NoConfidence(estimate.reason, units=estimate.n)
    quantity = Quantity(metric=metric, sides=(rows,), cluster=cluster, stratify=stratify)
    if cluster is None and stratify is None:
        if isinstance(metric, CountMetric) and (trials := metric.trials(rows)) is not None:
            return ExactBinomial(int(trials[0].sum()), int(trials[1].sum()))
        if isinstance(metric, RocAuc):
            return delong_confidence(quantity)
    found = bootstrap_confidence(quantity, resamples=resamples, seed=seed)
    if cluster is not None and isinstance(metric, CountMetric) and (trials := metric.trials(rows)) is not None:
        right, tried = trials
        if found.doubt or np.array_equal(right, tried):
            return ClusteredShare(right, tried, rows.columns[cluster], name=cluster)
    elif is_of_shares(quantity) and not quantity.is_faultless(estimate.value):
        return _with_rare_classes(found, SharesOfClasses(quantity))
    return found


def _with_rare_classes(found: Confidence, shares: SharesOfClasses) -> Confidence:
    """What a class of few rows may do on others shows in no resample: never narrower than its exact bounds allow. One
    class needs no resample, and where resamples cannot answer the exact bounds do."""
    if shares.classes == 1 or found.doubt or found.undefined:
        return shares
    return WiderConfidence(found, shares, method=f"{found.method}, or {shares.method} where that is wider")


def confidence_of_difference(
    metric: Metric,
    a: RowOutputs,
    b: RowOutputs,
    *,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
    stratify: str | None = None,
) -> Confidence:
    """Bounds of metric(a) - metric(b) by the paired method that fits. Raises ``ValueError`` when the rows differ."""
    quantity = Quantity(metric=metric, sides=(a, b), cluster=cluster, stratify=stratify)
    for side, name in ((a, "first"), (b, "second")):
        estimate = metric.estimate(side)
        if not math.isfinite(estimate.value):
            return NoConfidence(f"{name} model: {estimate.reason}", units=estimate.n)
    if cluster is None and stratify is None:
        if isinstance(metric, CountMetric) and (pairs := _same_trials(metric, a, b)) is not None:
            ours, theirs, tried = pairs
            return paired_share(int((ours & ~theirs).sum()), int((~ours & theirs).sum()), int(tried.sum()))
        if isinstance(metric, RocAuc):
            return delong_confidence(quantity)
    found = bootstrap_confidence(quantity, resamples=resamples, seed=seed)
    if cluster is not None and quantity.differs() and isinstance(metric, CountMetric):
        pairs = _same_trials(metric, a, b)
        if pairs is not None and (found.doubt or np.array_equal(*pairs[:2])):
            return ClusteredPairs(*pairs, a.columns[cluster], name=cluster)
    return found


def interval_of(
    metric: Metric,
    rows: RowOutputs,
    *,
    confidence: float,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
    stratify: str | None = None,
) -> Interval:
    """Two-sided interval of one model's metric; each end alone is a one-sided bound at (1 + confidence) / 2."""
    made = confidence_of(metric, rows, seed=seed, resamples=resamples, cluster=cluster, stratify=stratify)
    return made.interval(confidence)


def paired_difference(
    metric: Metric,
    a: RowOutputs,
    b: RowOutputs,
    *,
    confidence: float,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
    stratify: str | None = None,
) -> Interval:
    """Two-sided interval of metric(a) - metric(b) over the same rows."""
    made = confidence_of_difference(metric, a, b, seed=seed, resamples=resamples, cluster=cluster, stratify=stratify)
    return made.interval(confidence)


def absolute_test(
    metric: Metric,
    rows: RowOutputs,
    *,
    bound: float,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
) -> PValue:
    """P value against "the metric is no better than `bound`", for Holm over slices."""
    made = confidence_of(metric, rows, seed=seed, resamples=resamples, cluster=cluster)
    p = made.p_greater(bound) if metric.direction == "higher" else made.p_less(bound)
    return PValue(p_value=p, method=made.method, units=made.units, doubt=made.doubt)


def paired_test(
    metric: Metric,
    a: RowOutputs,
    b: RowOutputs,
    *,
    margin: float,
    seed: int = 0,
    resamples: int = 10_000,
    cluster: str | None = None,
) -> PValue:
    """P value against "a is worse than b by `margin` or more" (margin 0: "a is no better"), for Holm over slices."""
    made = confidence_of_difference(metric, a, b, seed=seed, resamples=resamples, cluster=cluster)
    p = made.p_greater(-margin) if metric.direction == "higher" else made.p_less(margin)
    return PValue(p_value=p, method=made.method, units=made.units, doubt=made.doubt)


def paired_standard_error(metric: Metric, a: RowOutputs, b: RowOutputs, *, cluster: str | None = None) -> float:
    """Standard error of metric(a) - metric(b), for `detectable_difference`."""
    return Quantity(metric=metric, sides=(a, b), cluster=cluster).spread().error


def _same_trials(metric: CountMetric, a: RowOutputs, b: RowOutputs) -> tuple[Array, Array, Array] | None:
    """(N,) bool successes of both models and the rows on which they are tried, where those are the same."""
    ours, theirs = metric.trials(a), metric.trials(b)
    if ours is None or theirs is None or not np.array_equal(ours[1], theirs[1]):
        return None
    return ours[0], theirs[0], ours[1]
