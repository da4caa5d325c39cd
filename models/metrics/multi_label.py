"""Metrics of several labels per row: y is (N, C) of 0 and 1, the output (N, C) logits; a label is predicted where its
probability is above one half.

Averages follow `counts`: a mean over labels is NaN where a label that occurs is undefined.

Shape legend: N rows, C labels, M kinds of rows.
"""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.base import Array, CountMetric, ratio
from mlratchet.models.metrics.counts import Average, Averaged, Kind, OfOne
from mlratchet.models.metrics.probability import MeanMetric
from mlratchet.models.metrics.rows import RowOutputs


def marked(rows: RowOutputs) -> tuple[Array, Array]:
    """(N, C) predicted, (N, C) actual."""
    return rows.output > 0, rows.y > 0


class SubsetAccuracy(CountMetric):
    """Share of rows whose labels are all right."""

    name, direction, unit = "subset_accuracy", "higher", "share of rows"
    formula = "sum(every label right) / N"

    def codes(self, rows: RowOutputs) -> Array:
        """1 where all are right."""
        guess, label = marked(rows)
        return np.asarray((guess == label).all(axis=1).astype(np.int64))

    def table(self, codes: Array) -> Array:
        """[all right, 1]."""
        return np.stack([codes.astype(np.float64), np.ones(len(codes))], axis=1)

    def trials(self, rows: RowOutputs) -> tuple[Array, Array]:
        """All right, of all rows."""
        return self.codes(rows) == 1, np.ones(len(rows.y), dtype=bool)

    def from_sums(self, sums: Array) -> Array:
        """Right over all."""
        return ratio(sums[..., 0], sums[..., 1])


class HammingLoss(CountMetric):
    """Share of labels that are wrong."""

    name, direction, unit = "hamming_loss", "lower", "share of labels"
    formula = "sum(predicted != actual) / (N C)"
    source = "Schapire and Singer (1999), Machine Learning 37"

    def __init__(self, num_labels: int) -> None:
        self.num_labels = num_labels

    def codes(self, rows: RowOutputs) -> Array:
        """Wrong labels of the row."""
        guess, label = marked(rows)
        return np.asarray((guess != label).sum(axis=1).astype(np.int64))

    def table(self, codes: Array) -> Array:
        """[wrong, labels]."""
        return np.stack([codes.astype(np.float64), np.full(len(codes), float(self.num_labels))], axis=1)

    def from_sums(self, sums: Array) -> Array:
        """Wrong over all."""
        return ratio(sums[..., 0], sums[..., 1])


class OfLabel(OfOne):
    """Precision, recall or F1 of one label."""

    noun = "label"

    def sides(self, rows: RowOutputs) -> tuple[Array, Array]:
        """Predicted to have the label, has it."""
        guess, label = marked(rows)
        return guess[:, self.index], label[:, self.index]

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """Which count is 0."""
        what = {"precision": "predicted", "recall": "actual", "f1": "predicted or actual"}[self.kind]
        return f"no row has {self.label} {what}"


class OverLabels(Averaged):
    """Precision, recall or F1 averaged over the labels."""

    def __init__(self, kind: Kind, average: Average) -> None:
        super().__init__(kind, average)
        self.formula = self.formula.replace("class", "label")

    def features(self, rows: RowOutputs) -> Array:
        """[TP per label, predicted per label, actual per label]."""
        guess, label = marked(rows)
        return np.concatenate([guess & label, guess, label], axis=1).astype(np.float64)

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """In words."""
        return f"{self.kind} is undefined for a label that occurs"


class BinaryLogLoss(MeanMetric):
    """Mean over rows and labels of the negative log-likelihood, natural logarithm, not clipped."""

    name, direction, unit = "log_loss", "lower", "nats"
    formula = "-mean over rows and labels of log p(what the label is)"
    source = "Good (1952), Rational Decisions"
    span = (0.0, float("inf"))

    def quantity(self, rows: RowOutputs) -> Array:
        """log(1 + exp(-logit)) where marked, log(1 + exp(logit)) elsewhere."""
        logits = rows.output.astype(np.float64)
        return np.asarray(np.logaddexp(0.0, np.where(rows.y > 0, -logits, logits)).mean(axis=1))


class BinaryBrier(MeanMetric):
    """Mean over rows and labels of the squared distance of the probability to the label."""

    name, direction, unit = "brier", "lower", "squared probability"
    formula = "mean over rows and labels of (p - [marked])^2"
    source = "Brier (1950), Monthly Weather Review 78"

    def quantity(self, rows: RowOutputs) -> Array:
        """Stable in the logit: 1 - p = 1 / (1 + exp(logit))."""
        logits = rows.output.astype(np.float64)
        miss = np.exp(-np.logaddexp(0.0, np.where(rows.y > 0, logits, -logits)))
        return np.asarray((miss**2).mean(axis=1))
