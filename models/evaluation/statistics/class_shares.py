"""One model's precision, recall or F1 of a class, or their mean over classes, from exact bounds of every class.

A class with few rows is often all right, or all wrong; no resample shows then what it does on other rows, however many
rows the other classes have. Each class is a share of rows, and so is an F1: 2 J / (1 + J), where J is the share of
right rows among those that are of the class or predicted as it (Jaccard 1912). Given how many those are it is binomial,
with the bounds of Clopper and Pearson. The bounds of a mean are recovered from those of its terms: the distances from
estimate to bound are added up as standard deviations are, with the correlations of the classes (Zou and Donner 2008,
Statistics in Medicine 27, the method of variance estimates recovery, MOVER). With more than one class two things are
added. A class that is all right has no distance above it, and yet others are better than they look: no distance is
below the normal one with half a row more on either side (without, a mean over ten classes of ten rows is wrong in 10 %
for 5 %). And the mean of an F1, which bends with its share, lies below its true value.

Where it holds its stated error was simulated: docs/statistics.md.

Shape legend: M kinds of rows or units, K features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from mlratchet.models.evaluation.statistics.interval import Confidence
from mlratchet.models.evaluation.statistics.proportions import ExactBinomial
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.evaluation.statistics.special import betaincinv, brentq, ndtri
from mlratchet.models.metrics.base import Array, Shares, SumMetric, take

LEAST_ALPHA = 1e-12
FEW_CLUSTERS = 5
"""Clusters with a right row, or with a wrong one, from which the dependence within clusters is estimated; below it is
taken to be complete."""
LEAST_ROWS = 3.0
"""Rows of a class, in the mean over classes, below which a mean of F1 lies lower than its true value by more than is
added for its bend: which classes occur at all is chance then."""


class SharesOfClasses(Confidence):
    """Bounds of the mean of `metric.of_share` over classes."""

    def __init__(self, quantity: Quantity) -> None:
        """Of one model. Raises ``TypeError`` for two, and for a metric that is no mean of shares."""
        metric = quantity.metric
        if len(quantity.sides) > 1 or not isinstance(metric, SumMetric) or not is_of_shares(quantity):
            raise TypeError(f"{metric.name} of {len(quantity.sides)} models is no mean of shares of classes")
        self._value = metric.of_share
        right_C, tried_C = np.sum([(n @ one.right, n @ one.tried) for n, one in _counted(quantity)], axis=0)
        self._counts = tried_C > 0
        self._right, self._tried = right_C[self._counts], tried_C[self._counts]
        self.share = self._right / self._tried
        self.classes = len(self.share)
        self._together = np.eye(self.classes)
        if not quantity.rows_are_units:
            self._right, self._tried = self._worth(quantity)
        if self.classes > 1:
            self._together = self._correlations(quantity)
        self.units = max(int(self._tried.min()), 1)
        self.estimate = float(self._value(self.share).mean())
        of_one, of_many = ExactBinomial.method, f"MOVER of {ExactBinomial.method} over {self.classes} classes"
        self.method = of_one if self.classes == 1 else of_many
        rows = float(self._tried.mean())
        if self._bend() > 0 and rows < LEAST_ROWS:
            self.doubt = (
                f"{self.classes} classes have {rows:.1f} rows each in the mean, {metric.name} needs {LEAST_ROWS:g}: "
                f"{math.ceil(LEAST_ROWS * self.classes)} rows settle it"
            )
        if quantity.cluster is not None:
            self.method += f", by clusters of {quantity.cluster}"

    def low(self, alpha: float) -> float:
        """The estimate less the recovered distance; no mean of shares is below 0."""
        return max(self._below(alpha), 0.0)

    def high(self, alpha: float) -> float:
        """The estimate, with what an F1 lies too low, and the recovered distance; none is above 1."""
        return min(self._above(alpha), 1.0)

    def p_greater(self, x: float) -> float:
        """Level at which the lower bound reaches x; above one half it does not tell anything apart."""
        if x >= self._below(0.5):
            return 0.5 if x <= self._above(0.5) else max(0.5, 1 - self.p_less(x))
        return _level(lambda alpha: self._below(alpha) - x)

    def p_less(self, x: float) -> float:
        """Level at which the upper bound reaches x."""
        if x <= self._above(0.5):
            return 0.5 if x >= self._below(0.5) else max(0.5, 1 - self.p_greater(x))
        return _level(lambda alpha: x - self._above(alpha))

    def _below(self, alpha: float) -> float:
        n, k = self._tried, self._right
        least = np.where(k > 0, betaincinv(np.maximum(k, 1e-9), n - k + 1, alpha), 0.0)
        return self.estimate - self._recovered(self._value(self.share) - self._value(least), alpha)

    def _above(self, alpha: float) -> float:
        n, k = self._tried, self._right
        most = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1e-9), 1 - alpha), 1.0)
        distance = self._recovered(self._value(most) - self._value(self.share), alpha)
        return self.estimate + self._bend() + distance

    def _recovered(self, distance_C: Array, alpha: float) -> float:
        """Of the mean, from those of the classes."""
        if self.classes > 1:
            below, above = self._around()
            distance_C = np.maximum(distance_C, max(float(ndtri(1 - alpha)), 0.0) * (above - below) / 2)
        return math.sqrt(max(float(distance_C @ self._together @ distance_C), 0.0)) / self.classes

    def _around(self) -> tuple[Array, Array]:
        """(C,) values one standard error below and above a share with half a row more on either side."""
        n = self._tried + 1
        share = (self._right + 0.5) / n
        error = np.sqrt(share * (1 - share) / n)
        return self._value(np.maximum(share - error, 0.0)), self._value(np.minimum(share + error, 1.0))

    def _bend(self) -> float:
        """How far the expected mean lies below the true one: two-point estimate (Rosenblueth 1975, PNAS 72)."""
        if self.classes == 1:
            return 0.0
        share = (self._right + 0.5) / (self._tried + 1)
        below, above = self._around()
        return max(float((self._value(share) - (below + above) / 2).mean()), 0.0)

    def _worth(self, quantity: Quantity) -> tuple[Array, Array]:
        """(C,) right and tried rows as independent ones: divided by the design effect of the clusters (Korn and
        Graubard 1998, Survey Methodology 24), which is that of rows that are right or wrong together (Kish 1965) where
        few clusters show anything else."""
        spread, squares, with_right, with_wrong = np.zeros((4, self.classes))
        for n, right, tried in self._chosen(quantity):
            spread += n @ (right - self.share * tried) ** 2
            squares += n @ tried**2
            with_right += n @ (right > 0)
            with_wrong += n @ (tried > right)
        fewest = self._tried**2 / squares
        variance = spread / self._tried**2
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(variance > 0, self.share * (1 - self.share) / variance, fewest)
        found = np.where(np.minimum(with_right, with_wrong) < FEW_CLUSTERS, fewest, found)
        rows = np.clip(found, fewest, self._tried)
        return self.share * rows, rows

    def _correlations(self, quantity: Quantity) -> Array:
        """(C, C) of the shares; 0 with a class that is all right or all wrong."""
        moments = np.zeros((self.classes, self.classes))
        for n, right, tried in self._chosen(quantity):
            off = right - self.share * tried
            moments += (off * n[:, None]).T @ off
        deviation = np.sqrt(np.diag(moments))
        scale = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
        found = moments * scale[:, None] * scale
        np.fill_diagonal(found, 1.0)
        return found

    def _chosen(self, quantity: Quantity) -> Iterator[tuple[Array, Array, Array]]:
        for n, (right, tried) in _counted(quantity):
            yield n, right[:, self._counts], tried[:, self._counts]


def is_of_shares(quantity: Quantity) -> bool:
    """Whether the metric is a mean over classes of shares of rows."""
    metric, side = quantity.metric, quantity.sides[0]
    return isinstance(metric, SumMetric) and metric.shares(metric.features(take(side, slice(0, 1)))) is not None


@dataclass(frozen=True, kw_only=True)
class HeaviestClass:
    """The class of which one row more or less that is right moves the value of either model most, and by how much."""

    moved: float
    rows: float  # that its value is a share of; over clusters, when all of one is right or wrong together


def heaviest_class(quantity: Quantity) -> HeaviestClass | None:
    """None for a metric that is no mean of shares."""
    if not is_of_shares(quantity):
        return None
    found = []
    of_share: Callable[[Array], Array] = quantity.metric.of_share  # type: ignore[attr-defined]  # has shares
    for side in quantity.sides:
        alone = replace(quantity, sides=(side,))
        parts = [(n @ one.right, n @ one.tried, n @ one.tried**2) for n, one in _counted(alone)]
        right, tried, squares = np.sum(parts, axis=0)
        occurs = tried > 0
        share, rows = right[occurs] / tried[occurs], tried[occurs] ** 2 / squares[occurs]
        gained = of_share(np.minimum(share + 1 / rows, 1.0)) - of_share(share)
        lost = of_share(share) - of_share(np.maximum(share - 1 / rows, 0.0))
        moved = np.maximum(gained, lost) / len(rows)
        at = int(moved.argmax())
        found.append(HeaviestClass(moved=float(moved[at]), rows=float(rows[at])))
    return max(found, key=lambda one: one.moved)


def _features(quantity: Quantity) -> Iterator[tuple[Array, Array]]:
    """(M,) how many units have each row of the (M, K) features: kinds of rows where there are few."""
    found = quantity.kinds()
    if found is None:
        for features in quantity.features():
            yield np.ones(len(features)), features
        return
    place, table = found
    yield np.bincount(place, minlength=len(table)).astype(np.float64), table


def _counted(quantity: Quantity) -> Iterator[tuple[Array, Shares]]:
    metric = quantity.metric
    assert isinstance(metric, SumMetric)
    for n, features in _features(quantity):
        shares = metric.shares(features)
        assert shares is not None
        yield n, shares


def _level(gap: Callable[[float], float]) -> float:
    """The level between 0 and one half at which a rising gap is 0."""
    if gap(LEAST_ALPHA) >= 0:
        return LEAST_ALPHA
    return float(brentq(gap, LEAST_ALPHA, 0.5, xtol=1e-12))
