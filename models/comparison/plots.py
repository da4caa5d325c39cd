"""Pictures of a comparison as PNG bytes."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mlratchet.models.comparison.compare import Comparison
from mlratchet.models.metrics import log_probabilities
from mlratchet.models.metrics.rows import RowOutputs

BINS = 10  # of the reliability diagram
COLOURS = ("#b36b1e", "#1e5fb3")  # A, B


def comparison_plots(a: RowOutputs, b: RowOutputs, comparison: Comparison) -> dict[str, bytes]:
    """Caption -> PNG; only those that say something of the task."""
    plots: dict[str, bytes] = {}
    if comparison.task == "classification":
        plots["Calibration"] = reliability_of_both(a, b)
    if comparison.task == "regression":
        plots["Errors"] = errors_of_both(a, b)
    if comparison.slices:
        plots["Slices"] = slice_differences(comparison)
    return plots


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110, bbox_inches="tight")
    return sink.getvalue()


def reliability_of_both(a: RowOutputs, b: RowOutputs) -> bytes:
    """Accuracy against confidence in equal-width bins; the size of a dot is its rows."""
    figure = Figure(figsize=(5.2, 4.4))
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color="grey", linewidth=1, label="calibrated")
    for rows, name, colour in zip((a, b), ("A", "B"), COLOURS, strict=True):
        confidence = np.exp(log_probabilities(rows.output).max(axis=1))
        correct = rows.output.argmax(axis=1) == rows.y
        bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        used = [i for i in range(BINS) if (bins == i).any()]
        x = [float(confidence[bins == i].mean()) for i in used]
        y = [float(correct[bins == i].mean()) for i in used]
        sizes = [20 + 180 * float((bins == i).mean()) for i in used]
        axes.plot(x, y, color=colour, linewidth=1, alpha=0.6)
        axes.scatter(x, y, s=sizes, color=colour, label=name)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return _png(figure)


def errors_of_both(a: RowOutputs, b: RowOutputs) -> bytes:
    """Absolute error of B against that of A, a dot a row: below the line B is closer."""
    y = a.y.astype(np.float64)
    error_a, error_b = (np.abs(rows.output.reshape(y.shape) - y) for rows in (a, b))
    figure = Figure(figsize=(4.8, 4.4))
    axes = figure.add_subplot()
    axes.scatter(error_a, error_b, s=6, alpha=0.4, color=COLOURS[1])
    end = float(max(error_a.max(), error_b.max()))
    axes.plot([0, end], [0, end], "--", color="grey", linewidth=1)
    axes.set(xlabel="absolute error of A", ylabel="absolute error of B")
    axes.grid(alpha=0.3)
    return _png(figure)


def slice_differences(comparison: Comparison) -> bytes:
    """The difference of the main metric per slice, with its interval."""
    shown = [s for s in comparison.slices if s.difference.difference is not None]
    figure = Figure(figsize=(7, 0.6 + 0.32 * max(len(shown), 1)))
    axes = figure.add_subplot()
    axes.axvline(0, color="grey", linewidth=1)
    for at, one in enumerate(shown):
        middle, ends = one.difference.difference, one.difference.difference_interval
        if ends is not None:
            axes.plot(ends, [at, at], color=COLOURS[1], linewidth=2, alpha=0.5)
        assert middle is not None
        axes.plot([middle], [at], "o", color=COLOURS[1], markersize=5)
    axes.set_yticks(range(len(shown)), [f"{s.column} = {s.value}" for s in shown], fontsize=8)
    axes.set_xlabel(f"{shown[0].difference.metric}: B minus A" if shown else "")
    axes.grid(alpha=0.3, axis="x")
    axes.invert_yaxis()
    return _png(figure)
