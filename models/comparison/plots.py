"""Pictures of a comparison as PNG bytes."""

from __future__ import annotations

from matplotlib.figure import Figure
from mlratchet.models.comparison.compare import Comparison
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.png import png_bytes

COLOUR = "#1e5fb3"


def comparison_plots(a: RowOutputs, b: RowOutputs, comparison: Comparison) -> dict[str, bytes]:
    """Caption -> PNG; only those that say something of the task."""
    plots = objective_of(comparison.task).comparison_pictures(a, b)
    if comparison.slices:
        plots["Difference by slice"] = slice_differences(comparison)
    return plots


def slice_differences(comparison: Comparison) -> bytes:
    """The difference of the main metric per slice, with its interval."""
    shown = [s for s in comparison.slices if s.difference.difference is not None]
    figure = Figure(figsize=(7, 0.6 + 0.32 * max(len(shown), 1)))
    axes = figure.add_subplot()
    axes.axvline(0, color="grey", linewidth=1)
    for at, one in enumerate(shown):
        middle, ends = one.difference.difference, one.difference.difference_interval
        if ends is not None:
            axes.plot(ends, [at, at], color=COLOUR, linewidth=2, alpha=0.5)
        assert middle is not None
        axes.plot([middle], [at], "o", color=COLOUR, markersize=5)
    axes.set_yticks(range(len(shown)), [f"{s.column} = {s.told}" for s in shown], fontsize=8)
    axes.set_xlabel(f"{shown[0].difference.metric}: B minus A" if shown else "")
    axes.grid(alpha=0.3, axis="x")
    axes.invert_yaxis()
    return png_bytes(figure)
