"""Bootstrap bounds: percentile, and BCa, which corrects for median bias and skewness.

Sources: Efron and Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 (percentile) and 14 (BCa); Efron (1987),
JASA 82; Davison and Hinkley (1997), Bootstrap Methods, sec. 3.8 on clusters and 3.2 on strata.
"""

from __future__ import annotations

import math

import numpy as np
from mlratchet.models.evaluation.metrics.base import Array, Metric, SumMetric
from mlratchet.models.evaluation.rows import RowOutputs
from mlratchet.models.evaluation.statistics.interval import Confidence, Interval
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.evaluation.statistics.resampling import EXACT_UNITS, resampled
from scipy.special import ndtr, ndtri


class BootstrapConfidence(Confidence):
    """Quantiles of resampled values, at levels moved by BCa's `bias` (z0) and `acceleration` (a); 0 and 0 are the
    percentile bootstrap. A resample in which the metric was undefined counts as the worst value at either end."""

    def __init__(
        self, values_R: Array, *, method: str, units: int, bias: float = 0.0, acceleration: float = 0.0, doubt: str = ""
    ) -> None:
        self.method, self.units, self.doubt = method, units, doubt
        self.undefined = int(np.isnan(values_R).sum())
        self.bias, self.acceleration = bias, acceleration
        self.values = np.sort(values_R)  # NaN last
        self.defined = self.values[: len(values_R) - self.undefined]

    def _level(self, z: float) -> float:
        moved = self.bias + z
        return float(ndtr(self.bias + moved / (1 - self.acceleration * moved)))

    def low(self, alpha: float) -> float:
        """Quantile at alpha, with the undefined below all others."""
        at = self._level(float(ndtri(alpha))) * (len(self.values) - 1) - self.undefined
        return _at(self.defined, at) if at >= 0 else -math.inf

    def high(self, alpha: float) -> float:
        """Quantile at 1 - alpha, with the undefined above all others."""
        at = self._level(float(ndtri(1 - alpha))) * (len(self.values) - 1)
        return _at(self.defined, at) if at <= len(self.defined) - 1 else math.inf

    def _p(self, count: int) -> float:
        z = float(ndtri((1 + count) / (len(self.values) + 1))) - self.bias if count < len(self.values) else math.inf
        if math.isinf(z):
            return 1.0
        return float(ndtr(z / (1 + self.acceleration * z) - self.bias))

    def p_greater(self, x: float) -> float:
        """Level at which the lower bound reaches x (Davison and Hinkley, sec. 4.4.1)."""
        return self._p(int(np.searchsorted(self.defined, x, side="right")) + self.undefined)

    def p_less(self, x: float) -> float:
        """Level at which the upper bound reaches x."""
        below = int(np.searchsorted(self.defined, x, side="left"))
        count = len(self.values) - below
        if count >= len(self.values):
            return 1.0
        z = -float(ndtri((1 + count) / (len(self.values) + 1))) - self.bias
        return 1.0 - float(ndtr(z / (1 + self.acceleration * z) - self.bias))


def _at(ordered: Array, place: float) -> float:
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def bootstrap_confidence(
    quantity: Quantity, *, resamples: int, seed: int, bca: bool | None = None, doubt: str = ""
) -> BootstrapConfidence:
    """Resample and read bounds. `bca` None: up to `EXACT_UNITS` units, above which bias and skewness are below the
    Monte-Carlo error of a quantile; a quantity whose BCa is undefined (a unit without which the metric has no value)
    falls back to percentiles and says so."""
    values, road = resampled(quantity, resamples=resamples, seed=seed)
    what = "paired " if len(quantity.sides) > 1 else ""
    unit = "row" if quantity.rows_are_units else quantity.cluster or quantity.metric.group_column
    over = f" over {unit}s" if unit != "row" else ""
    over += f", strata of {quantity.stratify}" if quantity.stratify else ""
    if bca or (bca is None and quantity.units <= EXACT_UNITS):
        corrections = bca_corrections(quantity, values)
        if corrections is not None:
            bias, acceleration = corrections
            return BootstrapConfidence(
                values,
                method=f"{what}BCa bootstrap{over}{road}",
                bias=bias,
                acceleration=acceleration,
                units=quantity.units,
                doubt=doubt,
            )
        over += ", BCa undefined"
    return BootstrapConfidence(
        values, method=f"{what}percentile bootstrap{over}{road}", units=quantity.units, doubt=doubt
    )


def bca_corrections(quantity: Quantity, values_R: Array) -> tuple[float, float] | None:
    """Bias z0 (ties counted half) and acceleration a; None where either is undefined."""
    estimate = quantity.estimate()
    if np.isnan(values_R).any() or not math.isfinite(estimate):
        return None
    tolerance = 1e-12 * max(1.0, abs(estimate))
    below = float((values_R < estimate - tolerance).mean() + (np.abs(values_R - estimate) <= tolerance).mean() / 2)
    if not 0 < below < 1:
        return None
    pull = _pulls(quantity)
    spread = float((pull**2).sum())
    if not math.isfinite(spread):
        return None
    return float(ndtri(below)), float((pull**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0


def _pulls(quantity: Quantity) -> Array:
    """(U,) how the quantity falls when a unit is left out, centred: the jackknife, or its infinitesimal form."""
    if not isinstance(quantity.metric, SumMetric):
        return quantity.influence()
    features = np.concatenate(list(quantity.features()))
    left_out = quantity.of_sums(features.sum(axis=0) - features)
    return np.asarray(left_out.mean() - left_out)


def bootstrap(metric: Metric, rows: RowOutputs, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Two-sided percentile bootstrap interval of one model's metric."""
    quantity = Quantity(metric=metric, sides=(rows,))
    return bootstrap_confidence(quantity, resamples=resamples, seed=seed, bca=False).interval(confidence)


def paired_bootstrap(
    metric: Metric,
    candidate: RowOutputs,
    champion: RowOutputs,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Two-sided percentile bootstrap interval of metric(candidate) - metric(champion) over the same rows.

    Raises ``ValueError`` when the rows are not the same.
    """
    quantity = Quantity(metric=metric, sides=(candidate, champion))
    return bootstrap_confidence(quantity, resamples=resamples, seed=seed, bca=False).interval(confidence)
