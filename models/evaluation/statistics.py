"""Intervals for one model and for the paired difference of two.

Sources: Wilson (1927) for one proportion; Tango (1998), Statistics in Medicine 17, for the difference of paired
proportions; Efron and Tibshirani (1993), ch. 13, for the percentile bootstrap; Connor (1987) for power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.evaluation.metrics import Metric
from mlratchet.models.evaluation.rows import RowOutputs
from scipy.optimize import brentq
from scipy.special import ndtri

Array = np.ndarray[Any, Any]
CHUNK_VALUES = 4_000_000  # weights held at a time: bounded memory


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An interval and how it was made."""

    low: float
    high: float
    method: str
    undefined: int = 0  # resamples in which the metric was undefined


def wilson(successes: int, n: int, confidence: float) -> Interval:
    """Two-sided Wilson score interval of a proportion."""
    if n <= 0:
        raise ValueError(f"n must be positive, got {n}")
    z = float(ndtri(0.5 + confidence / 2))
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(low=max(0.0, centre - half), high=min(1.0, centre + half), method="Wilson score")


def tango(gained: int, lost: int, n: int, confidence: float) -> Interval:
    """Two-sided score interval of (gained - lost) / n, the difference of paired proportions.

    Args:
        gained: Rows that only the candidate has right.
        lost: Rows that only the champion has right.
        n: All rows.
        confidence: Of the two-sided interval; each end alone is a one-sided bound at (1 + confidence) / 2.
    """
    if n <= 0 or gained < 0 or lost < 0 or gained + lost > n:
        raise ValueError(f"expected 0 <= gained + lost <= n and n > 0, got {gained}, {lost}, {n}")
    z = float(ndtri(0.5 + confidence / 2))
    observed = (gained - lost) / n

    def statistic(delta: float) -> float:
        a = 2 * n
        b = -gained - lost + (2 * n - gained + lost) * delta
        c = -lost * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        variance = n * (2 * q + delta * (1 - delta))
        return (gained - lost - n * delta) / math.sqrt(max(variance, 1e-300))

    edge = 1 - 1e-9
    low = -1.0 if observed <= -edge else float(brentq(lambda d: statistic(d) - z, -edge, observed - 1e-12))
    high = 1.0 if observed >= edge else float(brentq(lambda d: statistic(d) + z, observed + 1e-12, edge))
    return Interval(low=low, high=high, method="Tango score (paired)")


def _resampled_sums(features: Array, resamples: int, seed: int) -> Any:
    """Yield chunks (R, K) of sums over rows drawn with replacement.

    Equal rows are drawn as one cell: a multinomial over cells has the same distribution and, for metrics of
    counts, a few hundred cells stand for any number of rows.
    """
    n = len(features)
    cells, counts = np.unique(features, axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    chunk = max(1, min(resamples, CHUNK_VALUES // len(cells)))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        yield rng.multinomial(n, counts / n, size=size) @ cells


def bootstrap(metric: Metric, rows: RowOutputs, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Two-sided percentile bootstrap interval of one model's metric."""
    features = metric.features(rows)
    values = np.concatenate([metric.from_sums(sums) for sums in _resampled_sums(features, resamples, seed)])
    return _percentiles(values, confidence, "percentile bootstrap")


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
    if candidate.ids != champion.ids or not np.array_equal(candidate.y, champion.y):
        raise ValueError("candidate and champion were not scored on the same rows")
    ours, theirs = metric.features(candidate), metric.features(champion)
    split = ours.shape[1]
    joint = np.concatenate([ours, theirs], axis=1)
    values = np.concatenate(
        [
            metric.from_sums(sums[:, :split]) - metric.from_sums(sums[:, split:])
            for sums in _resampled_sums(joint, resamples, seed)
        ]
    )
    return _percentiles(values, confidence, "paired percentile bootstrap")


def _percentiles(values: Array, confidence: float, method: str) -> Interval:
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return Interval(low=math.nan, high=math.nan, method=method, undefined=len(values))
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high), method=method, undefined=len(values) - len(finite))


def detectable_margin(n: int, *, disagreement: float, confidence: float, power: float = 0.8) -> float:
    """Smallest margin that an equally good candidate passes with probability `power`.

    Normal approximation for paired proportions (Connor, 1987): (z_conf + z_power) * sqrt(disagreement / n).
    """
    if n <= 0:
        raise ValueError(f"n must be positive, got {n}")
    return float((ndtri(confidence) + ndtri(power)) * math.sqrt(disagreement / n))


def rows_needed(margin: float, *, disagreement: float, confidence: float, power: float = 0.8) -> int:
    """The reverse of `detectable_margin`: rows from which an equally good candidate passes `margin`."""
    if margin <= 0:
        raise ValueError(f"margin must be positive, got {margin}")
    return math.ceil(disagreement * float((ndtri(confidence) + ndtri(power)) / margin) ** 2)
