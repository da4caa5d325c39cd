"""The loss of each row, between 0 and 1, whose mean a metric is: what bounds and alarms that hold at every moment need.

Shape legend: T rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.metrics.base import CountMetric, Metric, SumMetric
from mlratchet.models.metrics.rows import RowOutputs

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class RowLosses:
    """Of the rows that count for a metric."""

    losses: Array  # (T,) in [0, 1]; 0 is best
    places: Array  # (T,) which of the rows each belongs to, ascending


def row_losses(metric: Metric, rows: RowOutputs) -> RowLosses | None:
    """Losses whose mean is the metric, on the scale from its best value to its worst; None for a metric that is no mean
    over rows of bounded values: F1, AUC, RMSE."""
    if isinstance(metric, CountMetric) and metric.group_column is None:
        trials = metric.trials(rows)
        if trials is None:
            return None
        right, tried = trials
        places = np.flatnonzero(tried)
        values = np.asarray(right, dtype=np.float64)[places]
        return RowLosses(losses=1 - values if metric.direction == "higher" else values, places=places)
    low, high = metric.span
    if not (isinstance(metric, SumMetric) and metric.group_column is None and math.isfinite(low + high)):
        return None
    features = metric.features(rows)
    if not _is_mean(metric, features):
        return None
    shares = np.clip((features[:, 0] - low) / (high - low), 0.0, 1.0)
    losses = 1 - shares if metric.direction == "higher" else shares
    return RowLosses(losses=losses, places=np.arange(len(losses)))


def _is_mean(metric: SumMetric, features: Array) -> bool:
    """Features are [value, 1], and the metric their quotient."""
    if features.ndim != 2 or features.shape[1] != 2 or not np.all(features[:, 1] == 1):
        return False
    probes = np.asarray([[0.2, 1.0], [0.5, 1.0], [1.2, 2.0]])
    return bool(np.allclose(metric.from_sums(probes), probes[:, 0] / probes[:, 1]))


def value_of_loss(metric: Metric, loss: float) -> float:
    """What a mean loss is as a value of the metric."""
    low, high = metric.span
    return high - loss * (high - low) if metric.direction == "higher" else low + loss * (high - low)


def loss_of_value(metric: Metric, value: float) -> float:
    """The reverse."""
    low, high = metric.span
    share = (value - low) / (high - low)
    return 1 - share if metric.direction == "higher" else share


def first_of_means(metrics: Iterable[Metric], rows: RowOutputs) -> Metric | None:
    """The first metric that is a mean over rows: accuracy of a classification, subset accuracy of labels."""
    return next((metric for metric in metrics if row_losses(metric, rows) is not None), None)
