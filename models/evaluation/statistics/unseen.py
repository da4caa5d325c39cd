"""What none of the rows shows: one row more, worse than all of them, and losses that no number of rows bounds.

A mean of losses is made by its tail, and no resample holds a loss that was not drawn. Without a bound on it there is no
interval for a mean at all (Bahadur and Savage 1956, Annals of Mathematical Statistics 27), so three things are done:

- *One more unit* than there are is resampled, as in the bounds of Gaffke (2005; Learned-Miller and Thomas 2020). For a
  mean that is bounded by row it lies at the end of what a row can have, as it does there. For others it lies where the
  tail goes on beyond the largest unit: the mean of a Pareto tail above x is x / (1 - index), with the index of Hill
  (1975, Annals of Statistics 3) over the sqrt(U) largest.
- *A tail that has no mean* is doubted: above an index of 1 there is nothing that the metric could come near to. Between
  1/2, where a mean has no variance and resamples alone are wrong at any number of units (Athreya 1987, Annals of
  Statistics 15), and 1 the unit beyond the largest widens the bounds; data of real targets lie there.
- *Too few rows* are doubted: a kind of rows of share p is in none of n with probability (1 - p)^n. Of what is rarer
  than `RAREST_KIND` no method knows anything; docs/statistics.md says how wrong that can be.

A log loss is left as it was: decisions of every release judged it so.

Where this holds its stated error was simulated: docs/statistics.md.

Shape legend: U units, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mlratchet.models.evaluation.statistics.interval import Confidence, EndByEnd
from mlratchet.models.evaluation.statistics.quantity import Quantity
from mlratchet.models.metrics.base import Array, Metric, SumMetric
from mlratchet.models.metrics.multi_label import BinaryLogLoss
from mlratchet.models.metrics.probability import LogLoss, MeanMetric
from mlratchet.models.metrics.regression import R2, MeanSquaredError

RAREST_KIND = 0.05
"""Share of rows that a loss without a bound must not be able to hide in, with probability `UNSEEN`."""
UNSEEN = 0.05
NO_MEAN = 1.0
"""Index of a tail above which it has none."""
HEAVIEST_TAIL = 0.8
"""Index with which the unit beyond the largest is reckoned at most: three times as far."""
SURELY = 1.645
"""Standard errors of the index, which is asymptotically normal with its value over the root of the units it is of."""
ORDINARY_TAIL = 0.4
"""Index of Hill that normal errors show on a few hundred rows: what is more of it moves the unit beyond the largest."""
LEAST_TOP = 5


def rows_to_see(share: float = RAREST_KIND) -> int:
    """Rows among which a kind of this share is with probability 1 - `UNSEEN`."""
    return math.ceil(math.log(UNSEEN) / math.log1p(-share))


@dataclass(frozen=True, kw_only=True)
class UpperTail:
    """One end of what units do to a quantity: the largest influence, and the index of those beside it."""

    largest: float
    index: float
    top: int = 0

    @property
    def most(self) -> float:
        """The heaviest index so many units are believed with: a tail of 1 shows more by chance."""
        return NO_MEAN / (1 - SURELY / math.sqrt(self.top)) if self.top > SURELY**2 else math.inf

    @property
    def next(self) -> float:
        """Influence of a unit beyond the largest."""
        return self.largest * max(1.0, (1 - ORDINARY_TAIL) / (1 - min(self.index, HEAVIEST_TAIL)))


def tail_of(influence_U: Array) -> UpperTail:
    """Of the upper end; the index is Hill's."""
    top = min(max(LEAST_TOP, math.isqrt(len(influence_U))), len(influence_U) - 1)
    ordered = np.sort(np.partition(influence_U, len(influence_U) - top - 1)[-top - 1 :])
    ordered = ordered[ordered > 0]  # of a loss that most rows do not have, fewer lie on this side
    if len(ordered) <= LEAST_TOP:
        return UpperTail(largest=float(ordered[-1]) if len(ordered) else 0.0, index=0.0)
    return UpperTail(
        largest=float(ordered[-1]), index=float(np.log(ordered[1:] / ordered[0]).mean()), top=len(ordered) - 1
    )


def has_no_bound(metric: Metric) -> bool:
    """Whether one row can move the metric by any amount."""
    return not all(math.isfinite(end) for end in metric.span)


def has_a_tail(metric: Metric) -> bool:
    """Whether single units may do more to the metric than any of them does here: real numbers, no counts. Areas have
    methods of their own, and a calibration error is doubted for its bias."""
    if isinstance(metric, LogLoss | BinaryLogLoss):  # see above
        return False
    counts = isinstance(metric, SumMetric) and metric.discrete
    is_mean = isinstance(metric, MeanMetric) or metric.group_column is not None
    return not counts and not metric.biased and (has_no_bound(metric) or is_mean)


@dataclass(frozen=True, kw_only=True)
class OneMore:
    """Influence of a unit unlike all others, at either end, and how heavy the tails are."""

    low: float
    high: float
    heaviest: UpperTail

    def shifts(self, units: int, resamples: int, seed: int) -> tuple[Array, Array]:
        """(R,) what it adds to a resample at the lower and at the upper end: drawn as often as any unit is."""
        drawn = np.random.default_rng([seed, units]).binomial(units, 1 / (units + 1), size=resamples) / units
        return drawn * self.low, drawn * self.high


def one_more(quantity: Quantity, estimate: float) -> OneMore:
    """What one unit more may do, for a quantity that `has_a_tail`."""
    lower, upper = _tails(quantity.influence())
    loss = _loss(quantity.metric)
    alone = [_at_risk(loss, *_tails(loss.influence(side))) for side in quantity.sides]  # one may hide behind the other
    heaviest = max([_at_risk(quantity.metric, lower, upper), *alone], key=lambda tail: tail.index / tail.most)
    if has_no_bound(quantity.metric):
        return OneMore(low=-lower.next, high=upper.next, heaviest=heaviest)
    least, most = quantity.metric.span
    if len(quantity.sides) > 1:
        least, most = least - most, most - least
    if isinstance(quantity.metric, MeanMetric):  # of rows: one of them can have either end
        return OneMore(low=least - estimate, high=most - estimate, heaviest=heaviest)
    return OneMore(low=max(-lower.next, least - estimate), high=min(upper.next, most - estimate), heaviest=heaviest)


def _tails(influence_U: Array) -> tuple[UpperTail, UpperTail]:
    """Of the lower and of the upper end."""
    return tail_of(-influence_U), tail_of(influence_U)


def _loss(metric: Metric) -> Metric:
    """What one model's tail is of: R2 divides squared errors by a spread of targets, which hides theirs."""
    return MeanSquaredError() if isinstance(metric, R2) else metric


def _at_risk(metric: Metric, lower: UpperTail, upper: UpperTail) -> UpperTail:
    """Where the metric is worse than it looks."""
    return upper if metric.direction == "lower" else lower


def rows_for_an_answer(metric: Metric) -> int:
    """Rows below which there is none, whatever they show; 0 for what has bounds."""
    return rows_to_see() if has_a_tail(metric) and has_no_bound(metric) else 0


def too_few_rows(metric: Metric, rows: int) -> str:
    """Why so few rows say nothing of a loss without a bound, whatever they show; empty where they may."""
    if rows >= (needed := rows_for_an_answer(metric)):
        return ""
    hidden = (1 - RAREST_KIND) ** rows
    return (
        f"{rows} rows are too few for {metric.name}, which has no bound: what one row in {1 / RAREST_KIND:.0f} does is "
        f"in none of them with probability {hidden:.0%}; {needed} rows settle it, or a metric that has bounds"
    )


def doubt_of_tail(quantity: Quantity, more: OneMore) -> str:
    """Why a loss without a bound says too little on these rows; empty when it does, and for what has bounds."""
    name, rows = quantity.metric.name, len(quantity.sides[0].ids)
    if not has_no_bound(quantity.metric):
        return ""
    if few := too_few_rows(quantity.metric, rows):
        return few
    tail = more.heaviest
    if tail.index > tail.most:
        return (
            f"the largest of {rows} rows make up {name}: tail index {tail.index:.2f}, at most {tail.most:.2f} is "
            f"believed on so many, and no number of rows settles one above {NO_MEAN:g}; hold a metric with bounds"
        )
    return ""


def with_one_more(of: Callable[[Array], Confidence], values_R: Array, shifts: tuple[Array, Array]) -> EndByEnd:
    """Bounds from two sets of resamples: with a unit more at the lower end, and with one at the upper end. `of` gives
    the bounds of (R,) values."""
    lower, upper = (of(values_R + shift) for shift in shifts)
    return EndByEnd(lower, upper, method=lower.method, units=lower.units)
