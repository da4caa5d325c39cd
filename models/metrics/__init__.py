"""Metrics: what they are (`base`), one file per kind, and those that belong together (`families`)."""

from mlratchet.models.metrics.base import Array, CountMetric, Direction, Metric, MetricValue, SumMetric
from mlratchet.models.metrics.classification import Accuracy
from mlratchet.models.metrics.probability import ECE_BINS, log_probabilities

__all__ = [
    "ECE_BINS",
    "Accuracy",
    "Array",
    "CountMetric",
    "Direction",
    "Metric",
    "MetricValue",
    "SumMetric",
    "log_probabilities",
]
