"""Parts of the page of windows that are drawn from sketches: how a field was distributed and is now, a stretch of
merged windows, and what the answers rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.asking_again import RELIES, relied_on
from mlratchet.models.monitoring.sketches import NumberSketch, ValueSketch, sketch_from_json
from mlratchet.models.monitoring.stretch import MergedWindows
from mlratchet.models.monitoring.window import WindowRecord
from mlratchet.models.profile.charts import shown
from mlratchet.models.profile.page import html_table

Array = np.ndarray[Any, Any]
THEN, NOW = "#9aa7bd", "#3b6fb6"
WIDTH, TALL, FOOT = 372, 84, 18  # pixels
BINS, VALUES, LETTERS = 28, 6, 14  # of numbers; values of a category that are drawn; letters of their names
ENDS = (0.005, 0.995)  # between which numbers are drawn
BARS, BAR = 12, 430  # fields, and pixels of the longest bar
KEY = (
    f'<i class="key" style="background:{THEN};margin-left:0"></i>test rows'
    f'<i class="key" style="background:{NOW}"></i>newest window'
)


def shapes_of(then: Mapping[str, Any] | None, now: Mapping[str, Any] | None, kind: str) -> str:
    """A field as it was and as it is, as SVG; empty where a record keeps no such sketch."""
    if then is None or now is None:
        return ""
    before, after = sketch_from_json(then), sketch_from_json(now)
    if isinstance(before, NumberSketch) and isinstance(after, NumberSketch) and before.n and after.n:
        return _numbers(before, after, kind)
    if isinstance(before, ValueSketch) and isinstance(after, ValueSketch) and before.n and after.n:
        return _values(before, after)
    return ""


def _numbers(before: NumberSketch, after: NumberSketch, kind: str) -> str:
    low = min(one.quantile(ENDS[0]) for one in (before, after))
    high = max(one.quantile(ENDS[1]) for one in (before, after))
    if not high > low:
        return ""
    edges = np.linspace(low, high, BINS + 1)
    heights = [_heights(one, edges) for one in (before, after)]
    top = max(float(one.max()) for one in heights) or 1.0
    step = WIDTH / BINS
    drawn = []
    for at, share in enumerate(heights[0]):
        drawn.append(_bar(at * step, step - 1, share / top, THEN))
    line = " ".join(
        f"{x:.1f},{TALL - (TALL - 6) * share / top:.1f}"
        for at, share in enumerate(heights[1])
        for x in (at * step, (at + 1) * step)
    )
    drawn.append(f'<polyline points="{line}" fill="none" stroke="{NOW}" stroke-width="2"/>')
    words = "number" if kind not in ("number", "time") else kind  # lengths of texts
    drawn.append(f'<text x="0" y="{TALL + 14}">{escape(shown(low, words))}</text>')
    drawn.append(f'<text x="{WIDTH}" y="{TALL + 14}" text-anchor="end">{escape(shown(high, words))}</text>')
    return _svg(drawn, TALL + FOOT)


def _heights(one: NumberSketch, edges: Array) -> Array:
    held = one.counts > 0
    found, _ = np.histogram(one.places[held], bins=edges, weights=one.counts[held])
    # bins of a sketch that are wider than a bar would stand as single bars with gaps: spread over their neighbours
    if one.n and (found == 0).sum() > BINS / 2:
        found = np.convolve(found, [0.25, 0.5, 0.25], mode="same")
    return np.asarray(found / max(1, one.n))


def _values(before: ValueSketch, after: ValueSketch) -> str:
    shares = {
        name: (before.counts.get(name, 0) / before.n, after.counts.get(name, 0) / after.n)
        for name in {*before.counts, *after.counts}
    }
    order = sorted(shares, key=lambda name: (-max(shares[name]), name))[:VALUES]
    top = max(max(shares[name]) for name in order) or 1.0
    step, drawn = WIDTH / len(order), []
    for at, name in enumerate(order):
        wide = min(34.0, (step - 10) / 2)
        middle = (at + 0.5) * step
        for share, x, colour in ((shares[name][0], middle - wide, THEN), (shares[name][1], middle, NOW)):
            drawn.append(_bar(x, wide - 1, share / top, colour))
        told = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        drawn.append(f'<text x="{middle:.1f}" y="{TALL + 14}" text-anchor="middle">{escape(told)}</text>')
    return _svg(drawn, TALL + FOOT)


def _bar(x: float, width: float, share: float, colour: str) -> str:
    high = (TALL - 6) * share
    return f'<rect x="{x:.1f}" y="{TALL - high:.1f}" width="{width:.1f}" height="{high:.1f}" fill="{colour}"/>'


def _svg(drawn: Sequence[str], height: float) -> str:
    axis = f'<line x1="0" x2="{WIDTH}" y1="{TALL}" y2="{TALL}" stroke="#c9d1de"/>'
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">'
        f"<title>then and now</title>{''.join(drawn)}{axis}</svg>"
    )


def said(words: str) -> str:
    """Of what moved: a browser would break an arrow of two signs in two lines."""
    return escape(words).replace("-&gt;", "→")


def stretch_part(stretch: MergedWindows | None) -> str:
    """What all windows of the newest version say together; empty for one."""
    if stretch is None or stretch.windows < 2:
        return ""
    words = (
        f"{stretch.windows:,} windows of version {stretch.version} merged, {utc(stretch.from_s)} to "
        f"{utc(stretch.to_s)}: {stretch.counts['rows']:,} rows, against the test rows. The log was not read again."
    )
    if stretch.left_out:
        words += f" {stretch.left_out:,} windows of other versions, or with gaps, are left out."
    rows = [
        [
            escape(one.field), escape(one.found.measure.replace("_", " ")), f"{one.found.effect:.3g}",
            f"{one.found.interval[0]:.3g} to {one.found.interval[1]:.3g}", f"{one.found.n:,}", said(one.moved),
        ]
        for one in stretch.drifts
    ]  # fmt: skip
    table = html_table(["field", "measure", "drift", "interval", "rows", "what moved"], rows, numeric=range(2, 5))
    inside = table if rows else "Too few rows in all of them to say anything of drift."
    return f'<h2>The whole stretch</h2><div class="card"><p class="note">{escape(words)}</p>{inside}</div>'


def reliance_part(windows: Sequence[WindowRecord]) -> str:
    """Which fields the answers rest on, of the newest window that was asked about; empty where none was."""
    asked = next((one for one in reversed(windows) if any(name.startswith(RELIES) for name in one.figures)), None)
    if asked is None:
        return ""
    now = {name.removeprefix(RELIES): one for name, one in asked.figures.items() if name.startswith(RELIES)}
    then = relied_on(asked.figures)
    order = sorted(now, key=lambda name: (-max(now[name].value, then.get(name, 0.0)), name))[:BARS]
    top = max(max(now[name].value, then.get(name, 0.0)) for name in order) or 1.0
    lines = []
    for name in order:
        bars = "".join(
            f'<rect x="0" y="{y}" width="{BAR * share / top:.1f}" height="8" fill="{colour}"/>'
            for share, y, colour in ((then.get(name, 0.0), 1, THEN), (now[name].value, 11, NOW))
        )
        svg = f'<svg role="img" viewBox="0 0 {BAR} 20" width="{BAR}" height="20">{bars}</svg>'
        low, high = now[name].low or 0.0, now[name].high or 0.0
        told = f"{then.get(name, 0.0):.0%} &rarr; {now[name].value:.0%} ({low:.0%} to {high:.0%})"
        lines.append([escape(name), svg, told])
    words = f"Shares of what was answered, {utc(asked.window.from_s)}, on {next(iter(now.values())).n} rows."
    table = html_table(["field", "", "test rows, and that window"], lines, numeric=())
    return f'<h2>What the answers rest on</h2><div class="card"><p class="note">{escape(words)} {KEY}</p>{table}</div>'
