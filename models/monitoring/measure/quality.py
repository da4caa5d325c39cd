"""How good the answers of a window were, on its labelled rows: every metric of the pipeline, with intervals and by
slice; and the losses that the alarm goes on.

Labels that came by themselves say how good the labelled rows were, and how many those are. Only rows that our own
request drew say it of all rows (`powered.powered_values`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.evaluation.slices import take_rows
from mlratchet.models.gates.intervals import estimate_of
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.monitoring.measure.row_losses import row_losses
from mlratchet.models.monitoring.measure.service import Values
from mlratchet.models.monitoring.window import Figure

Array = np.ndarray[Any, Any]
CONFIDENCE = 0.95
RESAMPLES = 1000  # of a bootstrap: a window is looked at, not decided on
WINDOW_ONLY = "of this window alone: not anytime-valid"
MOST_SLICES = 24  # of which figures are shown
SEED = 0


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows of one value of one field."""

    column: str
    value: str

    @property
    def label(self) -> str:
        """`region=eu`."""
        return f"{self.column}={self.value}"


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRows:
    """The answered rows whose label is known, in the order of their requests."""

    rows: RowOutputs
    due_s: Array  # (T,) the moment from which the label counts, seconds since the epoch
    due: int = 0  # answered rows that had the time to get a label
    volunteered: int = 0  # of the labelled, those that nobody asked for

    @property
    def coverage(self) -> float:
        """Share of the due rows that have a label; 0 where none is due."""
        return len(self.rows.ids) / self.due if self.due else 0.0


@dataclass(frozen=True, kw_only=True)
class QualityMeasures:
    """Of one window."""

    figures: Mapping[str, Figure]
    streams: Mapping[str, Values]


def name_on(metric: str, part: Slice | None) -> str:
    """`accuracy`, `accuracy on region=eu`."""
    return metric if part is None else f"{metric} on {part.label}"


def measure_quality(
    labelled: LabelledRows, metrics: Sequence[Metric], watched: Metric | None, slices: Sequence[Slice], *, least: int
) -> QualityMeasures:
    """Figures of every metric, of the watched one by slice; values for the streams `quality/<metric>[ on <slice>]`.

    Args:
        labelled: Rows with their labels.
        metrics: Those of the pipeline's task.
        watched: The one that was promised; None: none of them is a mean over rows.
        slices: Whose promise is known, too.
        least: Fewer rows have no figure.
    """
    rows = labelled.rows
    figures: dict[str, Figure] = {}
    if labelled.due:
        share, method = labelled.coverage, "labelled of the rows that are due"
        figures["coverage"] = Figure(value=share, n=labelled.due, method=method)
    streams: dict[str, Values] = {}
    parts: list[Slice | None] = [None, *slices]
    for part in parts:
        chosen = np.arange(len(rows.ids)) if part is None else places_of(rows, part)
        held = rows if part is None else take_rows(rows, chosen)
        for metric in metrics if part is None else ([watched] if watched is not None else []):
            figure = figure_of(metric, held) if len(held.ids) >= least else None
            if figure is not None:
                figures[name_on(metric.name, part)] = figure
        losses = row_losses(watched, held) if watched is not None and len(held.ids) else None
        if watched is not None and losses is not None:
            streams[f"quality/{name_on(watched.name, part)}"] = Values(
                values=losses.losses, at_s=labelled.due_s[chosen][losses.places]
            )
    return QualityMeasures(figures=figures, streams=streams)


def places_of(rows: RowOutputs, part: Slice) -> Array:
    """(S,) which rows belong to a slice; none where the log does not hold its column."""
    column = rows.columns.get(part.column)
    if column is None:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.asarray(column, dtype=object) == part.value)


def figure_of(metric: Metric, rows: RowOutputs) -> Figure | None:
    """The value with the interval that the gates use; None where it is undefined."""
    found = estimate_of(metric, rows, resamples=RESAMPLES, seed=SEED)
    if not math.isfinite(found.value):
        return None
    ends = found.interval(CONFIDENCE)
    method = f"{found.bounds.method}, {CONFIDENCE:.0%}, {WINDOW_ONLY}" if ends else f"no interval: {found.why_no_bound}"
    low, high = ends or (None, None)
    return Figure(value=found.value, low=low, high=high, n=found.n, method=method)
