"""What is resampled: a metric of one model, or the difference of a metric between two models on the same rows, over
units (rows, queries or clusters).

Shape legend: N rows, B base units (rows, or queries of a ranking), U units, K features of all sides, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mlratchet.models.metrics.base import Array, CountMetric, Metric, SumMetric, chunks_of
from mlratchet.models.metrics.ranking import unit_codes
from mlratchet.models.metrics.rows import RowOutputs

LARGE = 2.0**200
"""Of an influence: the fourth power of what is less, times many rows, is a float."""
MANY_DEGREES = 1e6  # Student's t is the normal from there on
CLEAR = 1e-3  # of a value: no rounding comes near
OUTPUT_ROUNDING = 1e-6  # of a value of float32 outputs
ROUNDING = 1e-9  # of the terms that cancel: ten times the error of a slope from central differences


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of an estimate.

    `error` is the infinitesimal jackknife's standard error (Efron and Tibshirani 1993, ch. 22). `degrees` are the
    degrees of freedom that this standard error is worth (Satterthwaite 1946): 2 U / (kurtosis of the influence - 1).
    U for normal influences; twice the rows on which two classifiers differ, when few do; less the heavier the tails.
    """

    error: float
    degrees: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantity:
    """`metric(sides[0])`, or `metric(sides[0]) - metric(sides[1])`.

    `cluster` is a column: rows with one value are drawn together (patients, sessions), because they are not
    independent. `stratify` is a column, or `y`: its values keep their numbers of units in every resample.
    """

    metric: Metric
    sides: tuple[RowOutputs, ...]
    cluster: str | None = None
    stratify: str | None = None

    def __post_init__(self) -> None:
        first = self.sides[0]
        for other in self.sides[1:]:
            if first.ids != other.ids or not np.array_equal(first.y, other.y):
                raise ValueError("candidate and champion were not scored on the same rows")
        for name in (self.cluster, self.stratify, self.metric.group_column):
            if name is not None and name != "y" and name not in first.columns:
                raise ValueError(
                    f"{self.metric.name}: no column {name!r} in the rows; there are {sorted(first.columns)}"
                )
        if self.cluster is not None and self.stratify is not None:
            raise ValueError("give cluster or stratify, not both: a cluster may lie in several strata")

    def estimate(self) -> float:
        """The value on the rows themselves; NaN where undefined."""
        values = [self.metric.estimate(side).value for side in self.sides]
        return values[0] if len(values) == 1 else values[0] - values[1]

    @cached_property
    def _base(self) -> tuple[Array, int] | None:
        """Base unit of each row, where it is not the row itself."""
        column = self.metric.group_column
        return None if column is None else unit_codes(self.sides[0].columns[column])

    @cached_property
    def _clusters(self) -> tuple[Array, int] | None:
        """(B,) cluster of each base unit; a query belongs where its first row belongs."""
        if self.cluster is None:
            return None
        cluster, count = unit_codes(self.sides[0].columns[self.cluster])
        if self._base is None:
            return cluster, count
        return unit_codes([str(c) for c in cluster[np.unique(self._base[0], return_index=True)[1]]])

    @cached_property
    def units(self) -> int:
        """How many are drawn in a resample."""
        for found in (self._clusters, self._base):
            if found is not None:
                return found[1]
        return len(self.sides[0].ids)

    @property
    def rows_are_units(self) -> bool:
        """No queries, no clusters."""
        return self._clusters is None and self._base is None

    @property
    def unit(self) -> str:
        """What is drawn, in words."""
        if self.cluster is not None:
            return f"clusters of {self.cluster}"
        return "rows" if self._base is None else "queries"

    @property
    def one(self) -> str:
        """One of what is drawn, in words."""
        if self.cluster is not None:
            return "cluster"
        return "row" if self._base is None else "query"

    @property
    def counts_rows(self) -> bool:
        """Whether a row moves a difference only where the two models decide it differently."""
        return isinstance(self.metric, SumMetric) and self.metric.discrete

    def is_faultless(self, value: float) -> bool:
        """Whether a value is that of one model which decides every row right."""
        return len(self.sides) == 1 and self.counts_rows and self.metric.direction == "higher" and value == 1.0

    def differs(self) -> bool:
        """Whether two models differ in any output."""
        return len(self.sides) > 1 and not np.array_equal(self.sides[0].output, self.sides[1].output)

    @cached_property
    def blocks(self) -> list[Array] | None:
        """Units of each stratum; None without strata."""
        if self.stratify is None:
            return None
        rows = self.sides[0]
        label = [str(v) for v in rows.y.tolist()] if self.stratify == "y" else rows.columns[self.stratify]
        codes, count = unit_codes(label)
        if self._base is not None:
            codes = codes[np.unique(self._base[0], return_index=True)[1]]
        return [np.flatnonzero(codes == stratum) for stratum in range(count)]

    def kinds(self) -> tuple[Array, Array] | None:
        """For metrics of counts over rows: (N,) kind of each row over all sides, and (M, K) features of the kinds."""
        if not isinstance(self.metric, CountMetric) or not self.rows_are_units:
            return None
        codes = [self.metric.codes(side) for side in self.sides]
        base = max(int(code.max()) for code in codes) + 1
        joint = codes[0] if len(codes) == 1 else codes[0] * base + codes[1]
        kinds, place = np.unique(joint, return_inverse=True)
        sides = [kinds] if len(codes) == 1 else list(np.divmod(kinds, base))
        return place, np.concatenate([self.metric.table(side) for side in sides], axis=1)

    def features(self) -> Iterator[Array]:
        """(u, K) features of the units in order, in chunks when the rows are the units."""
        metric = self.metric
        assert isinstance(metric, SumMetric)
        if self.rows_are_units:
            for parts in zip(*(chunks_of(side) for side in self.sides), strict=True):
                yield np.concatenate([metric.features(part) for part in parts], axis=1)
            return
        features = np.concatenate([metric.features(side) for side in self.sides], axis=1)
        if self._clusters is not None:
            cluster, count = self._clusters
            features = add_by(cluster, features, count)
        yield features

    def of_sums(self, sums_RK: Array) -> Array:
        """(..., K) sums over units -> (...) values."""
        metric = self.metric
        assert isinstance(metric, SumMetric)
        if len(self.sides) == 1:
            return metric.from_sums(sums_RK)
        ours, theirs = np.split(sums_RK, 2, axis=-1)
        return np.asarray(metric.from_sums(ours) - metric.from_sums(theirs))

    def of_weights(self, weights_RU: Array) -> Array:
        """(R, U) how often each unit is drawn -> (R,) values."""
        by_base = weights_RU if self._clusters is None else weights_RU[:, self._clusters[0]]
        by_row = by_base if self._base is None else by_base[:, self._base[0]]
        values = [self.metric.weighted(side, by_row) for side in self.sides]
        return values[0] if len(values) == 1 else np.asarray(values[0] - values[1])

    def influence(self) -> Array:
        """(U,) of the units: the influence of a cluster is what its members add up to."""
        parts = [self.metric.influence(side) for side in self.sides]
        per_base = parts[0] if len(parts) == 1 else parts[0] - parts[1]
        if self._clusters is None:
            return np.asarray(per_base)
        cluster, count = self._clusters
        return np.bincount(cluster, per_base, minlength=count) * count / len(per_base)

    def weighted_influence(self) -> tuple[Array, Array]:
        """Influence values and how many units have each: of the kinds of rows where there are few."""
        found = self.kinds()
        if found is None:
            influence = self.influence()
            return influence, np.ones(len(influence))
        place, table = found
        counts = np.bincount(place, minlength=len(table)).astype(np.float64)
        return len(place) * (table @ self.gradient(counts @ table)), counts

    def gradient(self, sums_K: Array) -> Array:
        """(K,) derivative of `of_sums`."""
        assert isinstance(self.metric, SumMetric)
        if len(self.sides) == 1:
            return self.metric.gradient(sums_K)
        ours, theirs = np.split(sums_K, 2)
        return np.concatenate([self.metric.gradient(ours), -self.metric.gradient(theirs)])

    def spread(self) -> Spread:
        """Standard error and how well it is known."""
        influence, counts = self.weighted_influence()
        n = float(counts.sum())
        different = self.decided_differently() if len(self.sides) > 1 and self.counts_rows else None
        if different == 0 or self._is_rounding(float(np.abs(influence).max(initial=0.0))):
            influence = np.zeros_like(influence)
        influence, scale = held_by_floats(influence)
        second, fourth = float(counts @ influence**2), float(counts @ influence**4)
        if n < 2 or second == 0:
            return Spread(error=0.0 if n >= 2 else math.nan, degrees=0.0)
        excess = n * fourth / second**2 - 1
        degrees = min(2 * n / excess, MANY_DEGREES) if excess > 0 else n
        if different is not None:
            degrees = min(degrees, 2.0 * different)
        return Spread(error=scale * math.sqrt(second / n / (n - 1)), degrees=degrees)

    def _is_rounding(self, largest: float) -> bool:
        """Whether an influence is 0 but for rounding: features times slopes cancel, and slopes are not exact."""
        values = max(abs(self.metric.estimate(side).value) for side in self.sides)
        if len(self.sides) == 1 and not self.counts_rows:
            return largest <= OUTPUT_ROUNDING * values
        if largest > CLEAR * values or not isinstance(self.metric, SumMetric):
            return largest <= ROUNDING * values
        found = self.kinds()
        if found is None:
            slopes = np.abs(self.gradient(np.asarray(sum(part.sum(axis=0) for part in self.features()))))
            terms = max(float((np.abs(part) @ slopes).max()) for part in self.features())
        else:
            place, table = found
            slopes = np.abs(self.gradient(np.bincount(place, minlength=len(table)) @ table))
            terms = float((np.abs(table) @ slopes).max())
        return largest <= ROUNDING * self.units * terms

    def decides_alike(self) -> bool:
        """Whether no unit is decided differently. A spread of 0 does not say so: an F1 of 1 and one of 0 move with no
        row either."""
        return self.counts_rows and self.decided_differently() == 0

    def decided_differently(self) -> int:
        """Units that two models do not decide alike: all that a difference of counts rests on."""
        found = self.kinds()
        place, table = found if found is not None else (None, np.concatenate(list(self.features())))
        ours, theirs = np.split(table, 2, axis=1)
        differ = (ours != theirs).any(axis=1)
        return int(differ.sum() if place is None else differ[place].sum())


def held_by_floats(values_U: Array) -> tuple[Array, float]:
    """Values whose powers a float holds, and what they are times: a power of two, which changes no digit, and 1 but
    where they are very large."""
    largest = float(np.abs(values_U).max(initial=0.0))
    if not LARGE < largest < math.inf:
        return values_U, 1.0
    scale = math.ldexp(1.0, math.frexp(largest)[1] - 1)
    return values_U / scale, scale


def add_by(group: Array, features: Array, count: int) -> Array:
    """(count, K) sums of the rows of each group."""
    return np.stack([np.bincount(group, column, minlength=count) for column in features.T], axis=1)
