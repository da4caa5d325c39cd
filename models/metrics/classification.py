"""Metrics of counts for one label per row: accuracy, and precision, recall and F1 per class and averaged.

Shape legend: N rows, C classes, M kinds of rows.
"""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.base import Array, CountMetric, ratio
from mlratchet.models.metrics.counts import Average, Averaged, Kind, OfOne, value_of
from mlratchet.models.metrics.rows import RowOutputs


def predicted(rows: RowOutputs) -> Array:
    """(N,) the class with the largest output; the first of equals."""
    return np.asarray(rows.output.argmax(axis=1))


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


class OfClass(OfOne):
    """Precision, recall or F1 of one class."""

    noun = "class"

    def sides(self, rows: RowOutputs) -> tuple[Array, Array]:
        """Predicted as the class, is of the class."""
        return predicted(rows) == self.index, rows.y == self.index

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """Which count is 0."""
        if self.kind == "precision":
            return f"no row is predicted as {self.label}"
        words = f"no row is of class {self.label}"
        return words if self.kind == "recall" else f"{words} or predicted as it"


class OverClasses(Averaged, CountMetric):
    """Precision, recall or F1 averaged over the classes. Inside they stand in the order of their names: the draws of a
    bootstrap must not depend on how a file lists them."""

    def __init__(self, kind: Kind, average: Average, class_names: tuple[str, ...]) -> None:
        super().__init__(kind, average)
        self.class_names = tuple(sorted(class_names))
        self.place_C = np.asarray([self.class_names.index(name) for name in class_names], dtype=np.int64)

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

    def why(self, rows: RowOutputs) -> str:
        """Which classes have no value."""
        sums = np.split(self.sums(rows), 3)
        empty = np.isnan(value_of(self.kind, *sums)) & (sums[1] + sums[2] > 0)
        names = [name for name, bad in zip(self.class_names, empty, strict=True) if bad]
        return f"{self.kind} is undefined for {', '.join(names)}"
