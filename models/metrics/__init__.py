"""Metrics: what they are (`base`), one room per family, and which a task has (`registry`)."""

from mlratchet.models.metrics.base import Array, CountMetric, Direction, Metric, MetricValue, SumMetric
from mlratchet.models.metrics.classification import Accuracy
from mlratchet.models.metrics.probability import ECE_BINS, log_probabilities
from mlratchet.models.metrics.registry import compute_metrics, metrics_for

__all__ = [
    "ECE_BINS",
    "Accuracy",
    "Array",
    "CountMetric",
    "Direction",
    "Metric",
    "MetricValue",
    "SumMetric",
    "compute_metrics",
    "log_probabilities",
    "metrics_for",
]
