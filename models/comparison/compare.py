"""Compare two versions on the same rows: what differs, by how much, and how sure that is.

Differences are B minus A. Shape legend: N rows, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.evaluation.statistics import Interval, interval_of, paired_difference
from mlratchet.models.gates.intervals import cluster_of
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Objective
from mlratchet.models.objectives.naming import metrics_for, objective_of

Array = np.ndarray[Any, Any]
Better = Literal["a", "b", "neither"]
MOST_GROUPS = 20  # values of a column beyond which it makes no slices
LEAST_ROWS = 30  # of a slice: below it an interval says nothing
MOST_EXAMPLES = 20  # disagreements that are shown
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of both versions on the same rows. None where it could not be computed; `reason` says why."""

    metric: str
    direction: str  # higher or lower is better
    unit: str
    n: int
    a: float | None
    b: float | None
    a_interval: tuple[float, float] | None
    b_interval: tuple[float, float] | None
    difference: float | None  # B minus A
    difference_interval: tuple[float, float] | None
    method: str
    better: Better  # whom the interval of the difference shows to be better
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SliceDifference:
    """The main metric on the rows of one value of a column."""

    column: str
    value: str
    difference: Difference

    @property
    def told(self) -> str:
        """The value as a person reads it."""
        return self.value or "not given"


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """A row on which the versions part."""

    id: str
    target: str
    a: str
    b: str
    a_badness: float  # in the objective's `badness_unit`
    b_badness: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that needs no server: pure evidence of two models on one set of rows."""

    task: str
    n: int
    confidence: float
    metrics: tuple[Difference, ...]
    slices: tuple[SliceDifference, ...]
    disagreeing_rows: int
    disagreements: tuple[Disagreement, ...]  # the largest ones
    skipped_columns: Mapping[str, str]  # column -> why it made no slices


def compare(
    a: RowOutputs, b: RowOutputs, *, task: str, class_names: tuple[str, ...], confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Metrics, slices and disagreements of two models.

    Raises ``ValueError`` when they were not scored on the same rows, or on none.
    """
    if a.ids != b.ids or not np.array_equal(a.y, b.y):
        raise ValueError("the two versions were not scored on the same rows")
    if not a.ids:
        raise ValueError("there are no rows to compare on")
    metrics = metrics_for(task, class_names)
    main = next(iter(metrics.values()))
    slices, skipped = _slices(main, a, b, class_names, confidence=confidence, seed=seed)
    count, examples = _disagreements(a, b, objective_of(task), class_names)
    return Comparison(
        task=task,
        n=len(a.ids),
        confidence=confidence,
        metrics=tuple(difference(m, a, b, confidence=confidence, seed=seed) for m in metrics.values()),
        slices=slices,
        disagreeing_rows=count,
        disagreements=examples,
        skipped_columns=skipped,
    )


def difference(metric: Metric, a: RowOutputs, b: RowOutputs, *, confidence: float, seed: int) -> Difference:
    """One metric of both, with intervals as a gate would use them: none in doubt, groups drawn whole. `better` only
    where the interval of the paired difference excludes 0."""
    ours, theirs = metric.estimate(a), metric.estimate(b)
    words = ours.reason or theirs.reason
    delta, interval = None, None
    method, better = "", "neither"
    if math.isfinite(ours.value) and math.isfinite(theirs.value):
        delta = theirs.value - ours.value
        found = paired_difference(
            metric, b, a, confidence=confidence, resamples=RESAMPLES, seed=seed, cluster=cluster_of(metric, b)
        )
        interval, method = _ends(found), found.method
        if interval is None:
            words = f"no interval: {found.doubt or f'{found.undefined} resamples undefined'}"
        elif interval[0] > 0 or interval[1] < 0:
            better = "b" if (interval[0] > 0) == (metric.direction == "higher") else "a"
    return Difference(
        metric=metric.name,
        direction=metric.direction,
        unit=metric.unit,
        n=ours.n,
        a=_finite(ours.value),
        b=_finite(theirs.value),
        a_interval=_interval(metric, a, ours.value, confidence, seed),
        b_interval=_interval(metric, b, theirs.value, confidence, seed),
        difference=delta,
        difference_interval=interval,
        method=method,
        better=better,  # type: ignore[arg-type]  # one of the three words
        reason=words,
    )


def _interval(
    metric: Metric, rows: RowOutputs, value: float, confidence: float, seed: int
) -> tuple[float, float] | None:
    if not math.isfinite(value):
        return None
    cluster = cluster_of(metric, rows)
    return _ends(interval_of(metric, rows, confidence=confidence, resamples=RESAMPLES, seed=seed, cluster=cluster))


def _ends(interval: Interval) -> tuple[float, float] | None:
    if interval.doubt or interval.undefined or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return None
    return interval.low, interval.high


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _slices(
    main: Metric, a: RowOutputs, b: RowOutputs, class_names: tuple[str, ...], *, confidence: float, seed: int
) -> tuple[tuple[SliceDifference, ...], dict[str, str]]:
    """Of every column with few values, and of the label. Intervals are widened for their number (Bonferroni), so
    that among many slices without a difference one stands out by chance in 1 - confidence of all comparisons."""
    columns: dict[str, Sequence[str]] = {name: values for name, values in a.columns.items() if name != "label"}
    if class_names and a.y.ndim == 1:
        columns["label"] = [class_names[int(y)] for y in a.y]
    skipped: dict[str, str] = {}
    wanted: list[tuple[str, str, Array]] = []
    for name, values in columns.items():
        groups = sorted(set(values))
        if not 2 <= len(groups) <= MOST_GROUPS:
            skipped[name] = f"{len(groups)} different values; 2 to {MOST_GROUPS} make slices"
            continue
        everything = np.asarray(values)
        wanted += [(name, group, np.flatnonzero(everything == group)) for group in groups]
    enough = [one for one in wanted if len(one[2]) >= LEAST_ROWS]
    for name in {one[0] for one in wanted} - {one[0] for one in enough}:
        skipped[name] = f"no value has {LEAST_ROWS} rows"
    widened = 1 - (1 - confidence) / max(len(enough), 1)
    found = [
        SliceDifference(
            column=name,
            value=group,
            difference=difference(main, take_rows(a, rows), take_rows(b, rows), confidence=widened, seed=seed),
        )
        for name, group, rows in enough
    ]
    return tuple(found), skipped


def _disagreements(
    a: RowOutputs, b: RowOutputs, objective: Objective, class_names: tuple[str, ...]
) -> tuple[int, tuple[Disagreement, ...]]:
    said_a, said_b = objective.said(a, class_names), objective.said(b, class_names)
    bad_a, bad_b = objective.badness(a), objective.badness(b)
    gap, differ = np.abs(bad_a - bad_b), objective.differ(a, b)
    order = sorted(np.flatnonzero(differ), key=lambda i: (-gap[i], a.ids[int(i)]))
    targets = objective.wanted(a.y, class_names)
    examples = tuple(
        Disagreement(
            id=a.ids[int(i)],
            target=targets[i],
            a=said_a[i],
            b=said_b[i],
            a_badness=float(bad_a[i]),
            b_badness=float(bad_b[i]),
        )
        for i in order[:MOST_EXAMPLES]
    )
    return int(differ.sum()), examples
