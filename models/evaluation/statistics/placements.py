"""Bounds of one model's area under a ROC curve that hold with few rows on a side, whatever their scores.

An area is the mean over the positive rows of their placements: the share of negative rows that a row lies above, in
0..1. A mean of n such values is bounded as n + 1 of them with Dirichlet weights (Gaffke 2005; Learned-Miller and Thomas
2020, "A new confidence interval for the mean of a bounded random variable"). One more at 0 is never wrong, and
Clopper-Pearson's bound where all are 0 or 1; here it lies at 1/2: a row unlike any that was seen is ordered by luck.
The weights' tail is a saddlepoint's (Lugannani and Rice 1980). Both sides of a view have a bound, and their distances
add up as standard deviations do (MOVER: Zou and Donner 2008); those of several views as if they were one.

Where it holds its stated error was simulated: docs/statistics.md.

Shape legend: G distinct placements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mlratchet.models.evaluation.statistics.interval import Confidence
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.evaluation.statistics.special import brentq, ndtr
from mlratchet.models.metrics.base import Array
from mlratchet.models.metrics.curves import RocAuc, Scored

CHANCE = 0.5  # where a row lies that is ordered by luck
LEAST_ALPHA = 1e-9
NEAR = 1e-4  # of the way to a pole: there the saddlepoint formula is 0 / 0 and its limit is taken


@dataclass(frozen=True, eq=False)
class Placements:
    """Of the rows of one side of a view."""

    value: Array  # (G,)
    count: Array  # (G,) rows of each

    def mirrored(self) -> Placements:
        """Of the same rows, seen from the other end."""
        return Placements(1 - self.value, self.count)

    @property
    def mean(self) -> float:
        """Of all rows."""
        return float(self.value @ self.count / self.count.sum())

    def low(self, alpha: float) -> float:
        """Lower bound of their mean."""
        unseen = CHANCE if self.mean > CHANCE else 0.0
        value_G, count_G = np.append(self.value, unseen), np.append(self.count, 1.0)
        least, most = float(value_G.min()), float(value_G.max())
        if most == least:
            return least
        within = (most - least) * np.array([1e-9, 1 - 1e-12]) + least
        if _tail(value_G - within[0], count_G) >= alpha:  # nearly all lie there
            return least
        return float(brentq(lambda x: _tail(value_G - x, count_G) - alpha, *within))


class AreaByPlacements(Confidence):
    """Bounds of a mean of areas, one for each view."""

    def __init__(self, quantity: Quantity) -> None:
        """Of one model's `RocAuc`."""
        metric = quantity.metric
        assert isinstance(metric, RocAuc)
        self._views = [placements_of(view) for view in metric.views(quantity.sides[0])]
        self._mirrored = [tuple(side.mirrored() for side in view) for view in self._views]
        self.estimate = quantity.estimate()
        self.units = min(int(side.count.sum()) for view in self._views for side in view)
        self.method = "placements with one row more at chance (Gaffke)"

    def low(self, alpha: float) -> float:
        """The estimate less the distances of both sides."""
        return max(self.estimate - _distance(self._views, alpha), 0.0)

    def high(self, alpha: float) -> float:
        """The same from the other end."""
        return min(self.estimate + _distance(self._mirrored, alpha), 1.0)

    def p_greater(self, x: float) -> float:
        """Level at which the lower bound reaches x; above one half it tells nothing apart."""
        return self._level(self._views, self.estimate - x)

    def p_less(self, x: float) -> float:
        """Level at which the upper bound reaches x."""
        return self._level(self._mirrored, x - self.estimate)

    def _level(self, views: Sequence[tuple[Placements, ...]], distance: float) -> float:
        if distance <= _distance(views, 0.5):
            return 0.5 if distance > 0 else 1.0
        if distance >= _distance(views, LEAST_ALPHA):
            return LEAST_ALPHA
        return float(brentq(lambda alpha: _distance(views, alpha) - distance, LEAST_ALPHA, 0.5))


def placements_of(view: Scored) -> tuple[Placements, Placements]:
    """Of the positive rows, and of the negative ones: the share of positive rows that a row lies below."""
    positive, negative = np.sort(view.score[view.positive]), np.sort(view.score[~view.positive])
    return _above(positive, negative), _above(-negative[::-1], -positive[::-1])


def _above(rows: Array, others: Array) -> Placements:
    """Shares of the others that each row lies above, ties half; both sorted."""
    below = np.searchsorted(others, rows, side="left") + np.searchsorted(others, rows, side="right")
    value, count = np.unique(below / (2 * len(others)), return_counts=True)
    return Placements(value, count.astype(np.float64))


def _distance(views: Sequence[tuple[Placements, ...]], alpha: float) -> float:
    """How far the bound lies below the estimate, in the mean over views."""
    return float(np.mean([math.hypot(*(side.mean - side.low(alpha) for side in view)) for view in views]))


def _tail(distance_G: Array, count_G: Array) -> float:
    """P(sum of E d <= 0), E exponential: that the mean with Dirichlet weights lies at or below a value, from the
    distances d to it."""
    lowest, highest = float(distance_G.min()), float(distance_G.max())
    if highest <= 0 or lowest >= 0:
        return float(highest <= 0)
    left, right = (1 - 1e-9) / lowest, (1 - 1e-9) / highest
    point = float(brentq(lambda s: float(count_G @ (distance_G / (1 - s * distance_G))), left, right))
    ratio = distance_G / (1 - point * distance_G)
    second = float(count_G @ ratio**2)
    if abs(point) < NEAR * min(-left, right):
        return float(0.5 + 2 * float(count_G @ ratio**3) / (6 * math.sqrt(2 * math.pi) * second**1.5))
    cumulant = -float(count_G @ np.log1p(-point * distance_G))
    w, u = math.copysign(math.sqrt(max(-2 * cumulant, 0.0)), point), point * math.sqrt(second)
    return float(ndtr(w)) + math.exp(-w * w / 2) / math.sqrt(2 * math.pi) * (1 / w - 1 / u)
