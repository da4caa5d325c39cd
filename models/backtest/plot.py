"""What would have served when, as a picture."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from mlratchet.models.backtest.simulate import Backtest, Span


def timeline(backtest: Backtest, *, name: str, until_s: float) -> bytes:
    """PNG: the served version over time, as it was and under the policy, and a dot per registered version."""
    figure = Figure(figsize=(9, 4))
    axes = figure.add_subplot()
    for spans, label, style in (
        (backtest.did_serve, "served", {"color": "#8a93a6", "linewidth": 5, "alpha": 0.5}),
        (backtest.served, "would have served", {"color": "#1e5fb3", "linewidth": 1.8}),
    ):
        times, values = _stairs(spans, until_s)
        if times:
            axes.plot(times, values, drawstyle="steps-post", label=label, **style)
    for promoted, marker, label in ((True, "o", "passes every gate"), (False, "x", "stopped by a gate")):
        chosen = [step for step in backtest.steps if step.promoted is promoted]
        if chosen:
            axes.scatter(
                [_moment(step.at_s) for step in chosen],
                [step.version for step in chosen],
                marker=marker,
                color="#0b7a3e" if promoted else "#b3261e",
                label=label,
                zorder=3,
            )
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set(title=f"{name}: what would have served when", ylabel="version", xlabel="time (UTC)")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=8)
    FigureCanvasAgg(figure)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=120, bbox_inches="tight")
    return sink.getvalue()


def _moment(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


def _stairs(spans: Sequence[Span], until_s: float) -> tuple[list[dt.datetime], list[int]]:
    times = [_moment(span.from_s) for span in spans]
    values = [span.version for span in spans]
    if spans:
        times.append(_moment(max(until_s, spans[-1].from_s)))
        values.append(values[-1])
    return times, values
