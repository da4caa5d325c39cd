"""A picture of a metric on every slice, with intervals, the candidate beside the champion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from mlratchet.models.evaluation.slices import group_rows
from mlratchet.models.evaluation.statistics import interval_of
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.png import png_bytes

CONFIDENCE = 0.95
RESAMPLES = 1000  # of a picture; a check says its own
MOST_SLICES = 40
COLOURS = {"candidate": "#1f77b4", "champion": "#888888"}


def slice_plot(metric: Metric, models: Mapping[str, RowOutputs], labels: Sequence[str], title: str) -> bytes:
    """Estimate and interval of each model on each slice, the largest slices first; undefined values are left out."""
    groups = {name: group_rows(rows, labels) for name, rows in models.items()}
    first = next(iter(groups.values()))
    names = sorted(first, key=lambda label: (-len(first[label].ids), label))[:MOST_SLICES][::-1]
    figure = Figure(figsize=(7.5, 1.4 + 0.4 * len(names)))
    axes = figure.add_subplot()
    for number, (model, slices) in enumerate(groups.items()):
        places, values, spans = [], [], []
        for place, label in enumerate(names):
            found = _estimate(metric, slices[label])
            if found is not None:
                places.append(place - 0.15 * (number - (len(groups) - 1) / 2) * 2)
                values.append(found[0])
                spans.append((max(0.0, found[0] - found[1]), max(0.0, found[2] - found[0])))
        axes.errorbar(
            values, places, xerr=list(zip(*spans, strict=True)) or None, fmt="o", label=model, color=COLOURS[model],
            capsize=3, markersize=4,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [f"{label} (n={len(first[label].ids)})" for label in names], fontsize=8)
    axes.set_xlabel(f"{metric.name}, {CONFIDENCE:.0%} interval, better is {metric.direction}")
    axes.set_title(title, fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return png_bytes(figure)


def _estimate(metric: Metric, rows: RowOutputs) -> tuple[float, float, float] | None:
    """Value and interval (the value itself where there is no interval)."""
    value = metric.estimate(rows).value
    if not math.isfinite(value):
        return None
    interval = interval_of(metric, rows, confidence=CONFIDENCE, resamples=RESAMPLES)
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return value, value, value
    return value, interval.low, interval.high
