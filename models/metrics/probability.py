"""Metrics of predicted probabilities for one label per row: log loss, Brier score, calibration.

Shape legend: N rows, C classes, K features.
"""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.base import Array, SumMetric, ratio
from mlratchet.models.metrics.classification import predicted
from mlratchet.models.metrics.rows import RowOutputs

ECE_BINS = 15


def log_probabilities(output_NC: Array) -> Array:
    """Log-softmax, (N, C), stable."""
    shifted = output_NC.astype(np.float64) - output_NC.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


class MeanMetric(SumMetric):
    """The mean of one quantity per row: features are [quantity, 1]."""

    def quantity(self, rows: RowOutputs) -> Array:
        """(N,) float64."""
        raise NotImplementedError

    def features(self, rows: RowOutputs) -> Array:
        """[quantity, 1]."""
        quantity = self.quantity(rows)
        return np.asarray(np.stack([quantity, np.ones_like(quantity)], axis=1))

    def from_sums(self, sums: Array) -> Array:
        """Mean."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums_K: Array) -> Array:
        """Of a quotient."""
        return np.asarray(np.array([1.0, -sums_K[0] / sums_K[1]]) / sums_K[1])


class LogLoss(MeanMetric):
    """Mean negative log-likelihood of the label, natural logarithm. Not clipped: a label of probability 0 counts in
    full (scikit-learn clips at the resolution of its input)."""

    name, direction, unit = "log_loss", "lower", "nats"
    formula = "-mean(log p(label))"
    source = "Good (1952), Rational Decisions"
    span = (0.0, float("inf"))

    def quantity(self, rows: RowOutputs) -> Array:
        """-log p(label)."""
        return np.asarray(-log_probabilities(rows.output)[np.arange(len(rows.y)), rows.y.astype(np.int64)])


class Brier(MeanMetric):
    """Mean squared distance of the predicted probabilities to the label, between 0 and 2 (for two classes twice the
    binary score; scikit-learn: `scale_by_half=False`)."""

    name, direction, unit = "brier", "lower", "squared probability"
    formula = "mean(sum over classes of (p(class) - [class is the label])^2)"
    source = "Brier (1950), Monthly Weather Review 78"
    span = (0.0, 2.0)

    def quantity(self, rows: RowOutputs) -> Array:
        """sum p^2 - 2 p(label) + 1."""
        p_NC = np.exp(log_probabilities(rows.output))
        of_label = p_NC[np.arange(len(rows.y)), rows.y.astype(np.int64)]
        return np.asarray((p_NC**2).sum(axis=1) - 2 * of_label + 1.0)


class ExpectedCalibrationError(SumMetric):
    """Mean gap between confidence and accuracy over 15 equal-width bins (left edge included). Too high on few rows: a
    calibrated bin has a gap by chance, and absolute gaps do not cancel (Broecker 2012, Climate Dynamics 39)."""

    name, direction, unit = "ece", "lower", "share"
    formula = "sum over bins of |sum(correct) - sum(confidence)| / N"
    source = "Naeini et al. (2015); Guo et al. (2017), On Calibration of Modern Neural Networks"
    biased = True

    def features(self, rows: RowOutputs) -> Array:
        """[(correct - confidence) per bin, 1]."""
        confidence = np.exp(log_probabilities(rows.output).max(axis=1))
        gap = (predicted(rows) == rows.y) - confidence
        bins = np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        table = np.zeros((len(gap), ECE_BINS + 1))
        table[np.arange(len(gap)), bins] = gap
        table[:, -1] = 1.0
        return table

    def from_sums(self, sums: Array) -> Array:
        """Absolute gaps over all rows."""
        return ratio(np.abs(sums[..., :-1]).sum(axis=-1), sums[..., -1])

    def gradient(self, sums_K: Array) -> Array:
        """Signs over N; the value has a kink where a bin is calibrated exactly."""
        n = sums_K[-1]
        return np.asarray(np.append(np.sign(sums_K[:-1]), -np.abs(sums_K[:-1]).sum() / n) / n)
