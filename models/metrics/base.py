"""What a metric is: a value of weighted rows.

A metric says three things of a set of rows: its value (`estimate`), its value when each row counts with a weight
(`weighted`), and how its value moves with each row's weight (`influence`). The value, a resample and a whole bootstrap
are then the same formula. Most metrics are functions of sums over rows (`SumMetric`); those of counts take few
distinct rows (`CountMetric`), which is what makes their bootstrap cheap.

An undefined value is NaN with a reason, never 0.

Shape legend: N rows, U units (rows, queries or clusters), C classes, K features, R resamples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs

Array = np.ndarray[Any, Any]
Direction = Literal["higher", "lower"]
CHUNK_ROWS = 65_536  # rows whose features are held at a time: bounded memory
UNIT_SPAN = (0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class MetricValue:
    """A value over n rows; `reason` says why it is NaN."""

    value: float
    n: int
    reason: str = ""


class Shares(NamedTuple):
    """(..., C) numbers of rows of each class."""

    right: Array
    tried: Array


class Metric(ABC):
    """One metric: name, direction, unit, formula, source.

    `span` are the smallest and the largest value it can take; `group_column` names the column whose values are the
    units of resampling (queries of a ranking); without one a row is the unit.
    """

    name: str
    direction: Direction
    unit: str
    formula: str
    source: str = "definition"
    tasks: tuple[str, ...] = ()
    """Of a metric that a pipeline file names as ``package.module:Class``: the tasks that it fits."""
    span: tuple[float, float] = UNIT_SPAN
    group_column: str | None = None
    files: ClassVar[tuple[str, ...]] = ()
    """Files that its code opens, relative to its module: whoever changes one changes what it decides."""
    biased = False
    """The value is systematically too high or low on few rows, so that bounds around it are in doubt there."""

    def estimate(self, rows: RowOutputs) -> MetricValue:
        """The value over all rows; NaN with a reason where it is undefined."""
        n = len(rows.ids)
        if n == 0:
            return MetricValue(value=float("nan"), n=0, reason=f"{self.name} over 0 rows is undefined")
        if not np.isfinite(rows.output).all():
            return MetricValue(value=float("nan"), n=n, reason="the model's output holds NaN or infinity")
        if not np.isfinite(rows.y).all():
            return MetricValue(value=float("nan"), n=n, reason="the targets hold NaN or infinity")
        reason = self.refusal(rows)
        value = float("nan")
        try:
            value = value if reason else self.value(rows)
        except IndexError:  # a class that is newer than the model
            reason = f"{self.name} is undefined: the output has {rows.output.shape[-1]} columns, fewer than the classes"
        if not reason and not np.isfinite(value):
            value, reason = float("nan"), f"{self.name} is undefined on these rows ({self.formula}): {self.why(rows)}"
        return MetricValue(value=value, n=n, reason=reason)

    def refusal(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """Why these rows cannot be given to this metric at all; empty when they can."""
        return ""

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """What makes the value undefined on these rows, in words."""
        return "a denominator is 0"

    @abstractmethod
    def value(self, rows: RowOutputs) -> float:
        """The value over all rows; NaN where undefined."""

    @abstractmethod
    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """(R,) values with every row counted `weights_RN` times."""

    @abstractmethod
    def influence(self, rows: RowOutputs) -> Array:
        """(U,) derivative of the value by each unit's weight, times U: the empirical influence function.

        Its mean is 0 and its standard deviation over sqrt(U) the standard error (Efron and Tibshirani 1993, ch. 22).
        """


class SumMetric(Metric):
    """f(sum over units of features): `features` gives (U, K), `from_sums` maps sums (..., K) to values (...).

    The unit is a row, unless `group_column` names another.
    """

    discrete = False
    """Features are counts: an event may be rare, so that no normal approximation is made of their sums."""

    @abstractmethod
    def features(self, rows: RowOutputs) -> Array:
        """(U, K) float64."""

    @abstractmethod
    def from_sums(self, sums: Array) -> Array:
        """(..., K) -> (...); NaN where undefined."""

    def shares(self, features: Array) -> Shares | None:  # noqa: ARG002
        """Of (..., K) features, when the value is the mean, over classes with a row tried, of `of_share(right / tried)`
        and each row tried is a Bernoulli draw. None for every other metric."""
        return None

    def of_share(self, share: Array) -> Array:
        """What a class has for its share of right rows: rises with it."""
        return share

    def gradient(self, sums_K: Array) -> Array:
        """(K,) derivative of `from_sums` at the sums; central differences unless a metric knows better, and 0 where a
        sum of counts is 0, since no row has the feature."""
        step_K = 1e-5 * np.maximum(np.abs(sums_K), 1e-3 * np.abs(sums_K).max())
        moved = sums_K + np.concatenate([np.diag(step_K), -np.diag(step_K)])
        up, down = np.split(self.from_sums(moved), 2)
        return np.where(sums_K == 0, 0.0, (up - down) / (2 * step_K))

    def sums(self, rows: RowOutputs) -> Array:
        """(K,) sums over all rows."""
        return np.asarray(sum(self.features(chunk).sum(axis=0) for chunk in chunks_of(rows)))

    def value(self, rows: RowOutputs) -> float:
        """From the sums."""
        return float(self.from_sums(self.sums(rows)))

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """One matrix product."""
        return self.from_sums(weights_RN @ self.features(rows))

    def influence(self, rows: RowOutputs) -> Array:
        """Chain rule: features times the gradient. A row's weight moves every sum, that of ones included."""
        slope_K = self.gradient(self.sums(rows))
        return len(rows.ids) * np.concatenate([self.features(chunk) @ slope_K for chunk in chunks_of(rows)])


class CountMetric(SumMetric):
    """A sum metric whose rows fall into few kinds: `codes` gives each row's kind, `table` the features of kinds."""

    discrete = True

    def trials(self, rows: RowOutputs) -> tuple[Array, Array] | None:  # noqa: ARG002
        """(N,) bool success and (N,) bool trial when the value is a share of trials, each a Bernoulli draw: then exact
        binomial and paired score intervals hold. None for every other metric."""
        return None

    @abstractmethod
    def codes(self, rows: RowOutputs) -> Array:
        """(N,) int64, the kind of each row, in [0, number of kinds)."""

    @abstractmethod
    def table(self, codes: Array) -> Array:
        """(M, K) float64 features of the kinds."""

    def features(self, rows: RowOutputs) -> Array:
        """Looked up."""
        kinds, place = np.unique(self.codes(rows), return_inverse=True)
        return self.table(kinds)[place]

    def sums(self, rows: RowOutputs) -> Array:
        """Kinds times their counts."""
        kinds, counts = np.unique(self.codes(rows), return_counts=True)
        return np.asarray(counts.astype(np.float64) @ self.table(kinds))


def ratio(numerator: Array, denominator: Array) -> Array:
    """Elementwise; NaN where the denominator is not positive."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominator > 0, numerator / denominator, np.nan)


def take(rows: RowOutputs, at: slice) -> RowOutputs:
    """Some of the rows, without copying their arrays."""
    columns = {name: values[at] for name, values in rows.columns.items()}
    return replace(rows, ids=rows.ids[at], y=rows.y[at], output=rows.output[at], columns=columns)


def chunks_of(rows: RowOutputs) -> Iterator[RowOutputs]:
    """The rows in order, `CHUNK_ROWS` at a time."""
    if len(rows.ids) <= CHUNK_ROWS:
        yield rows
        return
    for start in range(0, len(rows.ids), CHUNK_ROWS):
        yield take(rows, slice(start, start + CHUNK_ROWS))
