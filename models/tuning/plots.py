"""Pictures of a study as PNG bytes: history, curves, importance, slices, parallel coordinates."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mlratchet.models.pipeline.tune import Choices, Dimension
from mlratchet.models.tuning.study import BASELINE, TrialFacts
from mlratchet.models.tuning.summary import Summary

COLUMNS = 3  # of the slices
BELOW = -0.12  # height of a key that a trial does not vary


def study_plots(summary: Summary) -> dict[str, bytes]:
    """File name -> PNG; a picture that has nothing to show is left out."""
    complete = [trial for trial in summary.trials if trial.state == "complete"]
    plots = {"learning_curves.png": curves(summary)}
    if complete:
        plots["history.png"] = history(summary)
        plots["slices.png"] = slices(summary, complete)
        plots["parallel_coordinates.png"] = parallel_coordinates(summary, complete)
    if summary.importances:
        plots["importance.png"] = importance(summary)
    return plots


def history(summary: Summary) -> bytes:
    """Value of every trial, the best so far as a line, the file's own values as a dashed one."""
    figure = Figure(figsize=(8, 4))
    axes = figure.add_subplot()
    complete = [trial for trial in summary.trials if trial.state == "complete" and trial.value is not None]
    axes.scatter([t.number for t in complete], [float(t.value or 0) for t in complete], s=22, label="trial", zorder=3)
    for state, marker in (("pruned", "x"), ("infeasible", "v"), ("failed", "v")):
        others = [t for t in summary.trials if t.state == state]
        values = [t.curve[-1][1] if t.curve else min(float(c.value or 0) for c in complete) for t in others]
        if others:
            axes.scatter([t.number for t in others], values, marker=marker, s=22, color="grey", label=state)
    axes.step(*zip(*summary.best_so_far(), strict=True), where="post", color="tab:red", label="best so far")
    if summary.baseline is not None:
        axes.axhline(float(summary.baseline.value or 0), linestyle="--", color="black", linewidth=1, label="the file")
    if summary.corrected is not None:
        c = summary.corrected
        axes.axhspan(c.low, c.high, alpha=0.12, color="tab:red", label="best, corrected for choosing")
    axes.set_xlabel("trial")
    axes.set_ylabel(f"{summary.metric.name}, {summary.scoring_rows} rows")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _png(figure)


def curves(summary: Summary) -> bytes:
    """The metric per epoch of every trial; pruned ones end early."""
    figure = Figure(figsize=(8, 4))
    axes = figure.add_subplot()
    best = summary.best
    for trial in summary.trials:
        if not trial.curve:
            continue
        special = best is not None and trial.number == best.number
        colour = "tab:red" if special else ("black" if trial.number == BASELINE else "tab:blue")
        weight = (
            {"linewidth": 2.0, "alpha": 1.0}
            if special or trial.number == BASELINE
            else {"linewidth": 0.8, "alpha": 0.5}
        )
        label = "best" if special else ("the file" if trial.number == BASELINE else None)
        axes.plot(*zip(*trial.curve, strict=True), color=colour, label=label, **weight)  # type: ignore[arg-type]
        if trial.state == "pruned":
            axes.plot(*trial.curve[-1], marker="x", color="grey")
    axes.set_xlabel("epoch (x: pruned)")
    axes.set_ylabel(f"validation {summary.metric.name}")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8)
    return _png(figure)


def importance(summary: Summary) -> bytes:
    """Share of the variance that each key explains."""
    pairs = sorted(summary.importances.items(), key=lambda pair: pair[1])
    figure = Figure(figsize=(7, 1.2 + 0.45 * len(pairs)))
    axes = figure.add_subplot()
    bars = axes.barh([key for key, _ in pairs], [share for _, share in pairs], color="tab:blue")
    axes.bar_label(bars, labels=[f"{share:.0%}" for _, share in pairs], padding=3, fontsize=8)
    axes.set_xlim(0, 1.1)
    axes.set_xlabel(f"share of the variance of {summary.metric.name} (fANOVA, {len(summary.best_so_far())} trials)")
    return _png(figure)


def slices(summary: Summary, complete: list[TrialFacts]) -> bytes:
    """The value against each key, of those trials that vary it."""
    shown = [axis for axis in summary.tune.axes() if any(axis.applies(trial.values) for trial in complete)]
    across = min(COLUMNS, len(shown))
    down = -(-len(shown) // across)
    figure = Figure(figsize=(4 * across, 3.2 * down))
    numbers = Normalize(complete[0].number, max(complete[-1].number, complete[0].number + 1))
    for place, one in enumerate(shown, start=1):
        axes = figure.add_subplot(down, across, place)
        varied = [trial for trial in complete if one.applies(trial.values)]
        drawn = axes.scatter(
            [_place(one.range, trial.values[one.key]) for trial in varied],
            [float(trial.value or 0) for trial in varied],
            c=[trial.number for trial in varied],
            norm=numbers,
            cmap="viridis",
            s=22,
        )
        base = next((trial for trial in varied if trial.number == BASELINE), None)
        if base is not None:
            axes.scatter(
                [_place(one.range, base.values[one.key])],
                [float(base.value or 0)],
                s=70,
                facecolors="none",
                edgecolors="black",
            )
        _scale(axes, one.range)
        axes.set_xlabel(one.name, fontsize=8)
        axes.set_ylabel(summary.metric.name)
        axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.colorbar(drawn, ax=figure.axes, label="trial (ring: the file)", shrink=0.9, ticks=MaxNLocator(integer=True))
    return _png(figure)


def parallel_coordinates(summary: Summary, complete: list[TrialFacts]) -> bytes:
    """One line per complete trial through all keys to the value, the better the brighter; below a key of models that
    the trial's is not."""
    across = summary.tune.axes()
    values = np.array([float(trial.value or 0) for trial in complete])
    low, high = float(values.min()), float(values.max())
    shade = Normalize(low, high if high > low else low + 1e-9)
    palette = colormaps["viridis" if summary.metric.direction == "higher" else "viridis_r"]
    figure = Figure(figsize=(2.2 * (len(across) + 1) + 1, 4.2))
    axes = figure.add_subplot()
    order = np.argsort(values if summary.metric.direction == "higher" else -values)
    for at in order:
        trial = complete[int(at)]
        heights = [_height(one.range, trial.values[one.key]) if one.applies(trial.values) else BELOW for one in across]
        heights.append(float(shade(float(values[at]))))
        axes.plot(range(len(heights)), heights, color=palette(shade(float(values[at]))), linewidth=1.5)
    names = [*(one.name.replace(".", ".\n") for one in across), summary.metric.name]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_yticks([])
    axes.set_ylim(BELOW - 0.06, 1.06)
    for place, one in enumerate(across):
        axes.axvline(place, color="black", linewidth=0.6)
        for height, text in _marks(one.range):
            axes.text(place + 0.03, height, text, fontsize=7, va="center")
    axes.axvline(len(across), color="black", linewidth=0.6)
    for height, value in ((0.0, low), (1.0, high)):
        axes.text(len(across) + 0.03, height, f"{value:.4g}", fontsize=7, va="center")
    return _png(figure)


def _place(dimension: Dimension, value: Any) -> float:
    return float(dimension.choices.index(value)) if isinstance(dimension, Choices) else float(value)


def _height(dimension: Dimension, value: Any) -> float:
    """Between 0 and 1."""
    if isinstance(dimension, Choices):
        return dimension.choices.index(value) / (len(dimension.choices) - 1)
    low, high, at = float(dimension.low), float(dimension.high), float(value)
    if dimension.log:
        low, high, at = float(np.log(low)), float(np.log(high)), float(np.log(at))
    return (at - low) / (high - low)


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    if isinstance(dimension, Choices):
        return [(_height(dimension, choice), str(choice)) for choice in dimension.choices]
    return [(0.0, f"{dimension.low:.3g}"), (1.0, f"{dimension.high:.3g}")]


def _scale(axes: Any, dimension: Dimension) -> None:
    if isinstance(dimension, Choices):
        axes.set_xticks(range(len(dimension.choices)), [str(choice) for choice in dimension.choices], fontsize=7)
    elif dimension.log:
        axes.set_xscale("log")
        axes.set_xlim(dimension.low / 1.2, dimension.high * 1.2)
    else:
        margin = 0.05 * (dimension.high - dimension.low)
        axes.set_xlim(dimension.low - margin, dimension.high + margin)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110, bbox_inches="tight")
    return sink.getvalue()
