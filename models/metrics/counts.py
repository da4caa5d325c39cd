"""Precision, recall and F1 of counts: of one class or label, and averaged over several.

Two deliberate differences to scikit-learn: a mean over classes is NaN where a class that occurs has no value
(scikit-learn with zero_division=nan leaves the class out, so that a model can raise its mean by never predicting a
class), and a class that occurs neither as label nor as prediction does not count even when it was declared.

Shape legend: N rows, C classes or labels, M kinds of rows.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Literal

import numpy as np
from mlratchet.models.metrics.base import Array, CountMetric, Shares, SumMetric, ratio
from mlratchet.models.metrics.rows import RowOutputs

Kind = Literal["precision", "recall", "f1"]
Average = Literal["micro", "macro", "weighted"]
PER_CLASS: dict[Kind, str] = {
    "precision": "TP / predicted",
    "recall": "TP / actual",
    "f1": "2 TP / (predicted + actual)",
}
AVERAGES: dict[Average, str] = {
    "micro": "sums over classes of {}",
    "macro": "mean over the classes that occur of {}",
    "weighted": "mean over classes, weighted by their actual rows, of {}",
}
VAN_RIJSBERGEN = "van Rijsbergen (1979), Information Retrieval, ch. 7"


def value_of(kind: Kind, tp: Array, predicted: Array, actual: Array) -> Array:
    """Precision, recall or F1 of counts, elementwise; NaN where undefined."""
    if kind == "precision":
        return ratio(tp, predicted)
    if kind == "recall":
        return ratio(tp, actual)
    return ratio(2 * tp, predicted + actual)


def shares_of(kind: Kind, tp: Array, predicted: Array, actual: Array) -> Shares:
    """Of which precision, recall or F1 is a function, elementwise. That of F1 is over the rows that are of the class or
    predicted as it: the coefficient of Jaccard (1912), J = F1 / (2 - F1)."""
    return Shares(tp, {"precision": predicted, "recall": actual, "f1": predicted + actual - tp}[kind])


def value_of_share(kind: Kind, share: Array) -> Array:
    """Precision, recall or F1 where so large a share of the tried rows is right."""
    return 2 * share / (1 + share) if kind == "f1" else share


def average_of(kind: Kind, average: Average, tp: Array, predicted: Array, actual: Array) -> Array:
    """(..., C) counts -> (...): the mean is NaN where a class that occurs is undefined."""
    if average == "micro":
        return value_of(kind, tp.sum(axis=-1), predicted.sum(axis=-1), actual.sum(axis=-1))
    per_class = value_of(kind, tp, predicted, actual)
    if average == "weighted":
        total = np.where(actual > 0, per_class * actual, 0.0).sum(axis=-1)
        return ratio(total, actual.sum(axis=-1))
    occurs = (predicted + actual) > 0
    total = np.where(occurs, per_class, 0.0).sum(axis=-1)
    return ratio(total, occurs.sum(axis=-1).astype(np.float64))


class OfOne(CountMetric):
    """Precision, recall or F1 of one class or label."""

    direction = "higher"
    unit = "share of rows"
    source = VAN_RIJSBERGEN
    noun: ClassVar[str]
    """What it is of, in names: class or label."""

    def __init__(self, kind: Kind, index: int, label: str) -> None:
        self.kind, self.index, self.label = kind, index, label
        self.name = f"{kind}_{self.noun}_{label}"
        self.formula = PER_CLASS[kind]

    @abstractmethod
    def sides(self, rows: RowOutputs) -> tuple[Array, Array]:
        """(N,) bool predicted, (N,) bool actual."""

    def codes(self, rows: RowOutputs) -> Array:
        """2 * predicted + actual."""
        guess, label = self.sides(rows)
        return np.asarray(2 * guess.astype(np.int64) + label)

    def table(self, codes: Array) -> Array:
        """[TP, predicted, actual]."""
        return np.stack([codes == 3, codes >= 2, codes % 2 == 1], axis=1).astype(np.float64)

    def trials(self, rows: RowOutputs) -> tuple[Array, Array] | None:
        """Recall: of the actual rows, precision: of the predicted ones. Given that number they are binomial."""
        if self.kind == "f1":
            return None
        guess, label = self.sides(rows)
        return guess & label, guess if self.kind == "precision" else label

    def from_sums(self, sums: Array) -> Array:
        """Of the one."""
        return value_of(self.kind, *np.moveaxis(sums, -1, 0))

    def shares(self, features: Array) -> Shares:
        """Of the one."""
        return Shares(*(rows[..., None] for rows in shares_of(self.kind, *np.moveaxis(features, -1, 0))))

    def of_share(self, share: Array) -> Array:
        """Of the one."""
        return value_of_share(self.kind, share)


class Averaged(SumMetric):
    """Precision, recall or F1 averaged. Its features are [TP, predicted, actual], C of each."""

    direction = "higher"
    unit = "share of rows"
    source = VAN_RIJSBERGEN
    discrete = True

    def __init__(self, kind: Kind, average: Average) -> None:
        self.kind, self.average = kind, average
        self.name = f"{kind}_{average}"
        self.formula = AVERAGES[average].format(PER_CLASS[kind])

    def from_sums(self, sums: Array) -> Array:
        """Averaged."""
        return average_of(self.kind, self.average, *np.split(sums, 3, axis=-1))

    def shares(self, features: Array) -> Shares | None:
        """Of each; other averages are no mean of shares."""
        return shares_of(self.kind, *np.split(features, 3, axis=-1)) if self.average == "macro" else None

    def of_share(self, share: Array) -> Array:
        """Of each."""
        return value_of_share(self.kind, share)
