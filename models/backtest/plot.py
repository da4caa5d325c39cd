"""What would have served when, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from mlratchet.models.backtest.simulate import Backtest, Span

Array = np.ndarray[Any, Any]


def timeline(backtest: Backtest, *, name: str, until_s: float) -> bytes:
    """PNG: the served version over time, as it was and under the policy, and a dot per registered version."""
    figure = Figure(figsize=(9, 4))
    axes = figure.add_subplot()
    for spans, label, colour, width in (
        (backtest.did_serve, "served", "#c4cad6", 6.0),
        (backtest.served, "would have served", "#1e5fb3", 1.8),
    ):
        times, values = _stairs(spans, until_s)
        if values:
            axes.step(times, values, where="post", label=label, color=colour, linewidth=width)
    for promoted, marker, label in ((True, "o", "passes every gate"), (False, "x", "stopped by a gate")):
        chosen = [step for step in backtest.steps if step.promoted is promoted]
        if chosen:
            axes.scatter(
                _moments([step.at_s for step in chosen]),
                [step.version for step in chosen],
                marker=marker,
                color="#0b7a3e" if promoted else "#b3261e",
                label=label,
                zorder=3,
            )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(title=f"{name}: what would have served when", ylabel="version", xlabel="time (UTC)")
    axes.tick_params(axis="x", labelrotation=20)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=120, bbox_inches="tight")
    return sink.getvalue()


def _moments(seconds: Sequence[float]) -> Array:
    """UTC; matplotlib labels such an axis with dates by itself."""
    return np.asarray([round(1000 * s) for s in seconds], dtype="datetime64[ms]")


def _stairs(spans: Sequence[Span], until_s: float) -> tuple[Array, list[int]]:
    times = [span.from_s for span in spans]
    values = [span.version for span in spans]
    if spans:
        times.append(max(until_s, spans[-1].from_s))
        values.append(values[-1])
    return _moments(times), values
