"""Make the reference of a version: its test rows, sketched, and what was promised on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.evaluation.statistics.proportions import clopper_pearson
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.answers import TaskFacts, confidences_of
from mlratchet.models.monitoring.measure.columns import PREPARED, answer_columns
from mlratchet.models.monitoring.measure.estimate import Reliability
from mlratchet.models.monitoring.measure.quality import Slice, figure_of, places_of
from mlratchet.models.monitoring.measure.row_losses import first_of_means, loss_of_value, row_losses
from mlratchet.models.monitoring.reference import Promise, Reference
from mlratchet.models.monitoring.sketches import Sketch, of
from mlratchet.models.monitoring.window import Figure

LEAST_SLICE = 50  # test rows of a slice that is watched by itself
MOST_SLICES = 8
NEAREST = 0.005  # of a promised loss to 0 and to 1: a model without a fault promises no more than that
LEAST_RELIABILITY = 100  # test rows


@dataclass(frozen=True, kw_only=True)
class TestColumn:
    """A field of the test rows."""

    kind: str
    values: Any
    """A value per row; None is what was not given. Rows of numbers of what was prepared."""

    __test__ = False  # pytest looks at names


def reference_of(
    pipeline: str, version: int, dataset: str, rows: RowOutputs, columns: Mapping[str, TestColumn], facts: TaskFacts,
    metrics: Sequence[Metric], config: MonitoringConfig, *, prepared: TestColumn | None = None,
    slice_columns: Sequence[str] = (), importance: Mapping[str, float] | None = None,
) -> Reference:  # fmt: skip
    """The reference of a version.

    Args:
        pipeline: Its name.
        version: Its number.
        dataset: Id of the dataset whose test rows they are.
        rows: Outputs of the version on its test rows, with the columns of slices.
        columns: The fields of the same rows, in any order of rows.
        facts: What the version answers.
        metrics: Those of its task.
        config: The policy.
        prepared: The projection of their prepared inputs.
        slice_columns: Fields by which quality is watched.
        importance: Field -> what the model relies on.
    """
    sketches: dict[str, Sketch] = {}
    kinds: dict[str, str] = {}
    told = {FIELD + name: one for name, one in columns.items()} | ({PREPARED: prepared} if prepared else {})
    for column, one in told.items():
        sketches[column], kinds[column] = of(one.values, one.kind), one.kind  # type: ignore[arg-type]  # a field's kind
    for name, (values, kind) in answer_columns(np.asarray(rows.output), facts).items():
        sketches[name], kinds[name] = of(values, kind), kind  # type: ignore[arg-type]  # as above
    missing = {
        name.removeprefix(FIELD): _share(one.missing, one.rows)
        for name, one in sketches.items()
        if name.startswith(FIELD) and one.rows
    }
    figures = {metric.name: figure for metric in metrics if (figure := figure_of(metric, rows)) is not None}
    return Reference(
        pipeline=pipeline, version=version, dataset=dataset, rows=len(rows.ids), kinds=kinds,
        sketches={name: one.to_json() for name, one in sketches.items()}, missing=missing, figures=figures,
        promises=tuple(promises_on(rows, metrics, figures, config, slice_columns)),
        importance=_shares(importance or {}), reliability=_reliability(rows, facts),
    )  # fmt: skip


def promises_on(
    rows: RowOutputs, metrics: Sequence[Metric], figures: Mapping[str, Figure], config: MonitoringConfig,
    slice_columns: Sequence[str],
) -> list[Promise]:  # fmt: skip
    """Of all rows and of the largest slices; none for a task without a metric that is a mean over rows."""
    wanted = config.quality.metric
    metric = next((one for one in metrics if one.name == wanted), None) if wanted else first_of_means(metrics, rows)
    if metric is None or row_losses(metric, rows) is None:
        return []
    found = [_promise(metric, figures.get(metric.name), None, config)]
    found += [
        _promise(metric, figure_of(metric, take_rows(rows, places_of(rows, part))), part, config)
        for part in _largest_slices(rows, slice_columns)
    ]
    return [one for one in found if one is not None]


def _promise(metric: Metric, figure: Figure | None, part: Slice | None, config: MonitoringConfig) -> Promise | None:
    """The end of the interval that is the worse one; a slice is never asked for more than it had."""
    declared = config.quality.at_least
    lower = metric.direction == "lower"
    end = (figure.high if lower else figure.low) if figure is not None else None
    if isinstance(declared, float):
        bound, by = declared, "the pipeline file"
        if part is not None and end is not None and ((end > bound) if lower else (end < bound)):
            bound, by = end, "its test rows"
    elif end is not None:
        bound, by = end, "its test rows"
    else:
        return None
    loss = min(max(loss_of_value(metric, bound), NEAREST), 1 - NEAREST)
    column, value = (part.column, part.value) if part is not None else ("", "")
    return Promise(metric=metric.name, column=column, value=value, bound=bound, loss=loss, by=by)


def _largest_slices(rows: RowOutputs, columns: Sequence[str]) -> list[Slice]:
    found: list[tuple[int, Slice]] = []
    for column in columns:
        counted = Counter(rows.columns.get(column, ()))
        if len(counted) <= len(rows.ids) / LEAST_SLICE:  # else it is an id
            found += [(count, Slice(column=column, value=value)) for value, count in counted.items()]
    large = [(count, part) for count, part in found if count >= LEAST_SLICE and part.value]
    return [part for _, part in sorted(large, key=lambda one: (-one[0], one[1].label))[:MOST_SLICES]]


def _reliability(rows: RowOutputs, facts: TaskFacts) -> Reliability | None:
    output = np.asarray(rows.output)
    sure = confidences_of(output, facts)
    if sure is None or len(sure) < LEAST_RELIABILITY:
        return None
    return Reliability.of(sure, facts.logged.right(rows))


def _share(count: int, n: int) -> Figure:
    ends = clopper_pearson(count, n, confidence=0.95)
    return Figure(value=count / n, low=ends.low, high=ends.high, n=n, method="Clopper-Pearson, 95 %")


def _shares(importance: Mapping[str, float]) -> dict[str, float]:
    total = sum(max(0.0, one) for one in importance.values())
    return {name: max(0.0, one) / total for name, one in importance.items()} if total else {}
