"""Metrics of one real target per row.

Shape legend: N rows, K features.
"""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.base import Array, SumMetric, ratio
from mlratchet.models.metrics.probability import MeanMetric
from mlratchet.models.metrics.rows import RowOutputs

UNBOUNDED = (0.0, float("inf"))


def errors(rows: RowOutputs) -> Array:
    """(N,) prediction - target."""
    return np.asarray(rows.output.astype(np.float64).reshape(rows.y.shape) - rows.y.astype(np.float64))


class MeanSquaredError(MeanMetric):
    """Mean squared error."""

    name, direction, unit = "mse", "lower", "target unit squared"
    formula = "mean((prediction - target)^2)"
    span = UNBOUNDED

    def quantity(self, rows: RowOutputs) -> Array:
        """Squared error."""
        return errors(rows) ** 2


class RootMeanSquaredError(MeanSquaredError):
    """Square root of the mean squared error."""

    name, unit = "rmse", "target unit"
    formula = "sqrt(mean((prediction - target)^2))"

    def from_sums(self, sums: Array) -> Array:
        """Root of the mean."""
        return np.sqrt(super().from_sums(sums))

    def gradient(self, sums_K: Array) -> Array:
        """Chain rule; 0 at a root of 0, where the value is at its smallest."""
        root = float(self.from_sums(sums_K))
        return super().gradient(sums_K) / (2 * root) if root > 0 else np.zeros_like(sums_K)


class MeanAbsoluteError(MeanMetric):
    """Mean absolute error."""

    name, direction, unit = "mae", "lower", "target unit"
    formula = "mean(|prediction - target|)"
    span = UNBOUNDED

    def quantity(self, rows: RowOutputs) -> Array:
        """Absolute error."""
        return np.abs(errors(rows))


class R2(SumMetric):
    """Coefficient of determination. Undefined for fewer than two rows or a constant target (scikit-learn's
    `force_finite=False` gives -inf or NaN there)."""

    name, direction, unit = "r2", "higher", "share of variance"
    formula = "1 - sum((prediction - target)^2) / sum((target - mean)^2)"
    source = "Draper and Smith (1998), Applied Regression Analysis"
    span = (float("-inf"), 1.0)

    def features(self, rows: RowOutputs) -> Array:
        """[error^2, y, y^2, 1]."""
        y = rows.y.astype(np.float64)
        return np.stack([errors(rows) ** 2, y, y**2, np.ones_like(y)], axis=1)

    def value(self, rows: RowOutputs) -> float:
        """In two passes: the difference of sums of squares loses digits when the mean is large."""
        y = rows.y.astype(np.float64)
        spread = float(((y - y.mean()) ** 2).sum())
        constant = spread <= np.finfo(np.float64).eps ** 2 * float((y**2).sum())
        return float("nan") if constant else 1.0 - float((errors(rows) ** 2).sum()) / spread

    def from_sums(self, sums: Array) -> Array:
        """1 - squared errors over the sum of squares about the mean."""
        squared, y, y2, n = np.moveaxis(sums, -1, 0)
        return 1.0 - ratio(squared, _about_the_mean(y, y2, n))

    def gradient(self, sums_K: Array) -> Array:
        """Of 1 - S / V."""
        squared, y, y2, n = sums_K
        about = y2 - y * y / n
        per_v = squared / about**2
        return np.array([-1.0 / about, -2 * y / n * per_v, per_v, y * y / (n * n) * per_v])

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """The only denominator."""
        return "the target is constant"


def _about_the_mean(y: Array, y2: Array, n: Array) -> Array:
    about = y2 - ratio(y * y, n)
    return np.where(about > 1e-12 * y2, about, 0.0)  # rounding of a constant target
