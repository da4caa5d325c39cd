"""Metrics of counts for one label per row.

Precision, recall and F1 per class and their averages. Two deliberate differences to scikit-learn: a mean over classes
is NaN where a class that occurs has no value (scikit-learn with zero_division=nan leaves the class out, so that a
model can raise its mean by never predicting a class), and a class that occurs neither as label nor as prediction does
not count even when it was declared.

Shape legend: N rows, C classes, M kinds of rows.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from mlratchet.models.metrics.base import Array, CountMetric, Shares, ratio
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


def predicted(rows: RowOutputs) -> Array:
    """(N,) the class with the largest output; the first of equals."""
    return np.asarray(rows.output.argmax(axis=1))


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


class Accuracy(CountMetric):
    """Share of rows whose most probable class is the label."""

    name, direction, unit = "accuracy", "higher", "share of rows"
    formula = "sum(predicted == label) / N"

    def codes(self, rows: RowOutputs) -> Array:
        """1 where right."""
        return np.asarray((predicted(rows) == rows.y).astype(np.int64))

    def table(self, codes: Array) -> Array:
        """[correct, 1]."""
        return np.asarray(np.stack([codes.astype(np.float64), np.ones(len(codes))], axis=1))

    def trials(self, rows: RowOutputs) -> tuple[Array, Array]:
        """Right, of all rows."""
        return predicted(rows) == rows.y, np.ones(len(rows.y), dtype=bool)

    def from_sums(self, sums: Array) -> Array:
        """Correct over all."""
        return ratio(sums[..., 0], sums[..., 1])


class OfClass(CountMetric):
    """Precision, recall or F1 of one class."""

    direction = "higher"
    unit = "share of rows"
    source = VAN_RIJSBERGEN

    def __init__(self, kind: Kind, index: int, label: str) -> None:
        self.kind, self.index, self.label = kind, index, label
        self.name = f"{kind}_class_{label}"
        self.formula = PER_CLASS[kind]

    def codes(self, rows: RowOutputs) -> Array:
        """2 * predicted as the class + is of the class."""
        return np.asarray(2 * (predicted(rows) == self.index).astype(np.int64) + (rows.y == self.index))

    def table(self, codes: Array) -> Array:
        """[TP, predicted, actual]."""
        return np.stack([codes == 3, codes >= 2, codes % 2 == 1], axis=1).astype(np.float64)

    def trials(self, rows: RowOutputs) -> tuple[Array, Array] | None:
        """Recall: of the class's rows, precision: of those predicted as it. Given that number they are binomial."""
        if self.kind == "f1":
            return None
        guess, label = predicted(rows) == self.index, rows.y == self.index
        return guess & label, guess if self.kind == "precision" else label

    def from_sums(self, sums: Array) -> Array:
        """Of the class."""
        return value_of(self.kind, *np.moveaxis(sums, -1, 0))

    def shares(self, features: Array) -> Shares:
        """Of the one class."""
        return Shares(*(rows[..., None] for rows in shares_of(self.kind, *np.moveaxis(features, -1, 0))))

    def of_share(self, share: Array) -> Array:
        """Of the class."""
        return value_of_share(self.kind, share)

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """Which count is 0."""
        if self.kind == "precision":
            return f"no row is predicted as {self.label}"
        words = f"no row is of class {self.label}"
        return words if self.kind == "recall" else f"{words} or predicted as it"


class OverClasses(CountMetric):
    """Precision, recall or F1 averaged over the classes. Inside they stand in the order of their names: the draws of a
    bootstrap must not depend on how a file lists them."""

    direction = "higher"
    unit = "share of rows"
    source = VAN_RIJSBERGEN

    def __init__(self, kind: Kind, average: Average, class_names: tuple[str, ...]) -> None:
        self.kind, self.average, self.class_names = kind, average, tuple(sorted(class_names))
        self.place_C = np.asarray([self.class_names.index(name) for name in class_names], dtype=np.int64)
        self.name = f"{kind}_{average}"
        self.formula = AVERAGES[average].format(PER_CLASS[kind])

    def codes(self, rows: RowOutputs) -> Array:
        """label * C + prediction, each by its place among the names."""
        if len(rows.y) and rows.y.min() < 0:
            raise IndexError("a label below 0 is no class")
        label = self.place_C[rows.y.astype(np.int64)]
        return np.asarray(label * len(self.class_names) + self.place_C[predicted(rows)])

    def table(self, codes: Array) -> Array:
        """[TP per class, predicted per class, actual per class]."""
        label, guess = np.divmod(codes, len(self.class_names))
        classes = np.arange(len(self.class_names))
        is_guess, is_label = guess[:, None] == classes, label[:, None] == classes
        return np.concatenate([is_guess & is_label, is_guess, is_label], axis=1).astype(np.float64)

    def trials(self, rows: RowOutputs) -> tuple[Array, Array] | None:
        """With one label per row the micro averages, and weighted recall, are the accuracy."""
        if self.average == "micro" or (self.average == "weighted" and self.kind == "recall"):
            return predicted(rows) == rows.y, np.ones(len(rows.y), dtype=bool)
        return None

    def from_sums(self, sums: Array) -> Array:
        """Averaged."""
        return average_of(self.kind, self.average, *np.split(sums, 3, axis=-1))

    def shares(self, features: Array) -> Shares | None:
        """Of each class; other averages are no mean of shares."""
        return shares_of(self.kind, *np.split(features, 3, axis=-1)) if self.average == "macro" else None

    def of_share(self, share: Array) -> Array:
        """Of each class."""
        return value_of_share(self.kind, share)

    def why(self, rows: RowOutputs) -> str:
        """Which classes have no value."""
        sums = np.split(self.sums(rows), 3)
        empty = np.isnan(value_of(self.kind, *sums)) & (sums[1] + sums[2] > 0)
        names = [name for name, bad in zip(self.class_names, empty, strict=True) if bad]
        return f"{self.kind} is undefined for {', '.join(names)}"
