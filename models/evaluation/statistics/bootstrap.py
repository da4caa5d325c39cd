"""Bootstrap bounds: percentile, and BCa, which corrects for median bias and skewness.

Sources: Efron and Tibshirani (1993), An Introduction to the Bootstrap, ch. 13 (percentile) and 14 (BCa); Efron (1987),
JASA 82; Hesterberg (2015), The American Statistician 69, on expanding percentiles for small samples; Davison and
Hinkley (1997), Bootstrap Methods, sec. 3.8 on clusters and 3.2 on strata.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from mlratchet.models.evaluation.statistics.class_shares import heaviest_class
from mlratchet.models.evaluation.statistics.clustered import effective_rows
from mlratchet.models.evaluation.statistics.exact_pairs import paired_share
from mlratchet.models.evaluation.statistics.interval import Confidence, Interval, WiderConfidence
from mlratchet.models.evaluation.statistics.proportions import ExactBinomial
from mlratchet.models.evaluation.statistics.quantity import MANY_DEGREES, Quantity, Spread, held_by_floats
from mlratchet.models.evaluation.statistics.resampling import EXACT_UNITS, resampled
from mlratchet.models.evaluation.statistics.special import ndtr, ndtri, stdtr, stdtrit
from mlratchet.models.evaluation.statistics.unseen import doubt_of_tail, has_a_tail, one_more, with_one_more
from mlratchet.models.metrics.base import Array, Metric, SumMetric
from mlratchet.models.metrics.rows import RowOutputs

LEAST_UNITS = 30
LEAST_DEGREES = {"paired": 6.0, "single": 12.0, "clusters": 24.0}
"""Degrees of freedom below which the simulations of docs/statistics.md exceed the stated error."""
BIAS_RESAMPLES = 200
KURTOSIS_SEEN = 0.5
"""What a sample shows of the kurtosis behind a spread's degrees of freedom, where the tails are heavy: the kurtosis of
N values cannot exceed N (Johnson and Lowe 1979, Technometrics 21). Counts are bounded, and theirs is not corrected."""
HEAVIEST_ROW = 1.5
"""Standard errors of a difference that one row of a class may move it by; with more the simulations of
docs/statistics.md exceed the stated error."""
LARGEST_BIAS = 0.25  # of the standard error; less can be ignored (Efron and Tibshirani 1993, sec. 10.3)


class BootstrapConfidence(Confidence):
    """Quantiles of resampled values.

    At levels moved by BCa's `bias` (z0) and `acceleration` (a); 0 and 0 are the percentile bootstrap. `degrees` widens
    the normal quantile behind the level to Student's, times sqrt(U / (U - 1)): the expanded percentiles of Hesterberg
    (2015). A resample in which the metric was undefined counts as the worst value at either end.
    """

    def __init__(
        self,
        values_R: Array,
        *,
        method: str,
        units: int,
        bias: float = 0.0,
        acceleration: float = 0.0,
        degrees: float = MANY_DEGREES,
        doubt: str = "",
    ) -> None:
        self.method, self.units, self.doubt = method, units, doubt
        self.undefined = int(np.isnan(values_R).sum())
        self.bias, self.acceleration, self.degrees = bias, acceleration, degrees
        self.widening = math.sqrt(units / (units - 1)) if degrees < MANY_DEGREES and units > 1 else 1.0
        self.values = np.sort(values_R)  # NaN last
        self.defined = self.values[: len(values_R) - self.undefined]

    def _level(self, alpha: float) -> float:
        """Share of resamples below the bound at alpha."""
        moved = self.bias + float(stdtrit(self.degrees, alpha)) * self.widening
        return float(ndtr(self.bias + moved / (1 - self.acceleration * moved)))

    def _alpha(self, level: float) -> float:
        """The reverse of `_level`."""
        moved = float(ndtri(level)) - self.bias
        return float(stdtr(self.degrees, (moved / (1 + self.acceleration * moved) - self.bias) / self.widening))

    def low(self, alpha: float) -> float:
        """Quantile at alpha, with the undefined below all others."""
        at = self._level(alpha) * (len(self.values) - 1) - self.undefined
        return _at(self.defined, at) if at >= 0 else -math.inf

    def high(self, alpha: float) -> float:
        """Quantile at 1 - alpha, with the undefined above all others."""
        at = self._level(1 - alpha) * (len(self.values) - 1)
        return _at(self.defined, at) if at <= len(self.defined) - 1 else math.inf

    def p_greater(self, x: float) -> float:
        """Level at which the lower bound reaches x (Davison and Hinkley, sec. 4.4.1); never below 1 / (R + 1)."""
        count = int(np.searchsorted(self.defined, x, side="right")) + self.undefined
        return 1.0 if count == len(self.values) else self._alpha((1 + count) / (len(self.values) + 1))

    def p_less(self, x: float) -> float:
        """Level at which the upper bound reaches x."""
        below = int(np.searchsorted(self.defined, x, side="left"))
        return 1.0 if below == 0 else 1.0 - self._alpha(below / (len(self.values) + 1))


def _at(ordered: Array, place: float) -> float:
    below = min(int(place), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


def bootstrap_confidence(quantity: Quantity, *, resamples: int, seed: int) -> Confidence:
    """Bounds as gates use them, with what makes them doubtful.

    One model: BCa. Two models: the wider of percentiles and BCa, end by end. Percentiles promote too often where the
    difference is skewed (a much noisier candidate), BCa where it is not (docs/statistics.md). Above `EXACT_UNITS` units
    percentiles: bias and skewness are below the Monte-Carlo error of a quantile. All expanded by Student's t. A BCa
    that is undefined (a unit without which the metric has no value) falls back to percentiles and says so.
    """
    estimate = quantity.estimate()
    if quantity.is_faultless(estimate):
        return _without_error(quantity)
    spread = quantity.spread()
    if spread.error == 0 and quantity.differs() and quantity.decides_alike():
        return _without_disagreement(quantity)
    values, road = resampled(quantity, resamples=resamples, seed=seed)
    named = f"over {quantity.unit}" if not quantity.rows_are_units else ""
    named += f", strata of {quantity.stratify}" if quantity.stratify else ""
    more = one_more(quantity, estimate) if has_a_tail(quantity.metric) and spread.error > 0 else None
    doubt, paired = doubt_of_tail(quantity, more) if more else "", len(quantity.sides) > 1
    doubt = doubt or _doubt(quantity, values, spread, estimate)
    degrees = spread.degrees if quantity.counts_rows else spread.degrees * KURTOSIS_SEEN

    def bounds(kind: str, bias: float = 0.0, acceleration: float = 0.0) -> BootstrapConfidence:
        words = f"paired {kind}" if paired else kind
        return BootstrapConfidence(
            values, method=", ".join(word for word in (f"{words} {named}".strip(), "Student's t", road) if word),
            units=quantity.units, doubt=doubt, bias=bias, acceleration=acceleration, degrees=max(degrees, 1.0),
        )  # fmt: skip

    def widest() -> Confidence:
        if quantity.units > EXACT_UNITS:
            return bounds("percentile bootstrap")
        found = bca_corrections(quantity, values, estimate)
        if found is None:
            return bounds("percentile bootstrap (BCa undefined)")
        if not paired:
            return bounds("BCa bootstrap", *found)
        wider = bounds("bootstrap, wider of percentile and BCa", *found)
        return WiderConfidence(bounds("percentile bootstrap"), wider, method=wider.method)

    found = widest()
    if more is None:
        return found
    beyond = with_one_more(
        lambda values_R: BootstrapConfidence(values_R, method=found.method, units=quantity.units, doubt=doubt),
        values, more.shifts(quantity.units, resamples, seed),
    )  # fmt: skip
    return WiderConfidence(found, beyond, method=f"{found.method}, or with one {quantity.one} more where that is wider")


def _without_disagreement(quantity: Quantity) -> Confidence:
    """No resample of two models that decide every row alike differs, and yet they may on rows not seen: Tango's score
    without a disagreement, over the rows of the rarest class, where one row moves a share or a mean of shares most."""
    fewest = _rarest(quantity)
    found = paired_share(0, 0, fewest)
    found.method = f"{found.method} over {fewest} rows of the rarest class (no row is decided differently)"
    found.doubt = _too_few(quantity)
    return found


def _without_error(quantity: Quantity) -> Confidence:
    """No resample of a model that is right on every row has an error, and yet it will make one: Clopper-Pearson without
    an error, over the rows of the rarest class."""
    fewest = _rarest(quantity)
    found = ExactBinomial(fewest, fewest)
    found.method = f"{found.method} over {fewest} rows of the rarest class (no row is wrong)"
    return found


def _rarest(quantity: Quantity) -> int:
    """Rows of the rarest class; over clusters what they are worth."""
    y = quantity.sides[0].y
    if y.ndim == 2 and np.isin(y, (0, 1)).all():  # each label is a class of its own, and so is its absence
        classes = [mask for label in (y > 0).T for mask in (label, ~label)]
    elif y.ndim > 1:  # a sequence or a set has no class
        classes = [np.ones(len(y), dtype=bool)]
    else:
        classes = [y == label for label in np.unique(y)]
    return max(int(min(_worth(quantity, mask) for mask in classes if mask.any())), 1)


def _worth(quantity: Quantity, rows: Array) -> float:
    """How many independent rows the given (N,) bool rows are."""
    if quantity.cluster is None:
        return float(rows.sum())
    return effective_rows(rows, quantity.sides[0].columns[quantity.cluster])[0]


def _too_few(quantity: Quantity) -> str:
    if quantity.units >= LEAST_UNITS:
        return ""
    return f"{quantity.units} {quantity.unit} are too few for a bootstrap, which needs {LEAST_UNITS}"


def _doubt(quantity: Quantity, values_R: Array, spread: Spread, estimate: float) -> str:
    """Why these bounds may be wrong more often than stated; empty when they hold."""
    if few := _too_few(quantity):
        return few
    if spread.error == 0:
        same = len(quantity.sides) > 1 and not quantity.differs()  # one and the same function on every row
        return "" if same else "no unit moves the value: its spread cannot be estimated"
    alone = "single" if quantity.cluster is None else "clusters"  # whose sizes differ
    least = LEAST_DEGREES["paired" if len(quantity.sides) > 1 else alone]
    if spread.degrees < least:
        of_counts = "on which the two differ" if len(quantity.sides) > 1 else "of the rarer outcome"
        which = of_counts if quantity.counts_rows else "in the tails"
        few = f"{quantity.unit} {which}"
        return f"the spread rests on too few {few} ({spread.degrees:.1f} degrees of freedom, needs {least:g})"
    if len(quantity.sides) > 1 and (heavy := _too_heavy(quantity, spread)):
        return heavy
    deviation, bias = float(np.nanstd(values_R)), abs(float(np.nanmean(values_R)) - estimate)
    if quantity.metric.biased and len(quantity.sides) > 1:
        bias = max(bias, *(_bias_of(quantity, side) for side in quantity.sides))
    if bias > LARGEST_BIAS * deviation:
        units = f"{quantity.units} {quantity.unit}"
        return f"{quantity.metric.name} is biased by {bias / deviation:.2f} of its standard error on {units}"
    return ""


def _too_heavy(quantity: Quantity, spread: Spread) -> str:
    """A class of few rows in which two models happen to differ little: what they do on others shows in no resample."""
    found = heaviest_class(quantity)
    if found is None or found.moved <= HEAVIEST_ROW * spread.error:
        return ""
    worth = "" if quantity.cluster is None else f", counted by clusters of {quantity.cluster}"
    return (
        f"a class has only {found.rows:.3g} rows{worth}: one of them moves {quantity.metric.name} by "
        f"{found.moved / spread.error:.1f} standard errors of the difference, at most {HEAVIEST_ROW:g} are allowed"
    )


def _bias_of(quantity: Quantity, side: RowOutputs) -> float:
    """Of one model's value: two biases that cancel in a difference on these rows need not cancel in truth."""
    alone = replace(quantity, sides=(side,))
    values, _ = resampled(alone, resamples=BIAS_RESAMPLES, seed=0)
    return abs(float(np.nanmean(values)) - alone.estimate())


def bca_corrections(quantity: Quantity, values_R: Array, estimate: float) -> tuple[float, float] | None:
    """Bias z0 (ties counted half) and acceleration a; None where either is undefined."""
    if np.isnan(values_R).any() or not math.isfinite(estimate):
        return None
    tolerance = 1e-12 * max(1.0, abs(estimate))
    below = float((values_R < estimate - tolerance).mean() + (np.abs(values_R - estimate) <= tolerance).mean() / 2)
    if not 0 < below < 1:
        return None
    pull, _ = held_by_floats(_pulls(quantity))  # neither correction has a scale
    spread = float((pull**2).sum())
    if not math.isfinite(spread):
        return None
    return float(ndtri(below)), float((pull**3).sum() / (6 * spread**1.5)) if spread > 0 else 0.0


def _pulls(quantity: Quantity) -> Array:
    """(U,) how the quantity falls when a unit is left out, centred: the jackknife, or its infinitesimal form."""
    if not isinstance(quantity.metric, SumMetric):
        return quantity.influence()
    features = np.concatenate(list(quantity.features()))
    left_out = quantity.of_sums(features.sum(axis=0) - features)
    return np.asarray(left_out.mean() - left_out)


def bootstrap(metric: Metric, rows: RowOutputs, *, confidence: float, resamples: int, seed: int) -> Interval:
    """Two-sided plain percentile bootstrap interval of one model's metric."""
    quantity = Quantity(metric=metric, sides=(rows,))
    values, road = resampled(quantity, resamples=resamples, seed=seed)
    method = ", ".join(word for word in ("percentile bootstrap", road) if word)
    return BootstrapConfidence(values, method=method, units=quantity.units).interval(confidence)


def paired_bootstrap(
    metric: Metric,
    candidate: RowOutputs,
    champion: RowOutputs,
    *,
    confidence: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Two-sided plain percentile bootstrap interval of metric(candidate) - metric(champion) over the same rows.

    Raises ``ValueError`` when the rows are not the same.
    """
    quantity = Quantity(metric=metric, sides=(candidate, champion))
    values, road = resampled(quantity, resamples=resamples, seed=seed)
    method = ", ".join(word for word in ("paired percentile bootstrap", road) if word)
    return BootstrapConfidence(values, method=method, units=quantity.units).interval(confidence)
