"""Distributions of a field as SVG, the delivery over its reference: some hundred bytes, drawn in a millisecond."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from mlratchet.models.data.quality.distributions import QUANTILES

WIDTH, HEIGHT = 380, 110  # pixels of a picture
BARS = 24
WORDS = 8  # of a category, the most frequent first
NOW, THEN = "#2f6fde", "#b9c2d3"


def distribution(now: Mapping[str, Any], then: Mapping[str, Any] | None) -> str:
    """Of a field as a profile holds it; empty where there is nothing to draw."""
    if now["kind"] == "word":
        return _words(now, then) if now.get("counts") else ""
    if not now.get("quantiles"):
        return ""
    return _numbers(now["quantiles"], then.get("quantiles") if then else None, of=now["kind"])


def _numbers(ours: list[float], theirs: list[float] | None, *, of: str) -> str:
    """Shares in equal steps between the 1st and the 99th percentile of both."""
    both = [one for one in (ours, theirs) if one]
    low, high = min(one[1] for one in both), max(one[-2] for one in both)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, BARS + 1)
    shares = [_shares(one, edges) if one else None for one in (theirs, ours)]
    most = max(float(one.max()) for one in shares if one is not None) or 1.0
    parts = []
    for share, colour, width in ((shares[0], THEN, 1.0), (shares[1], NOW, 0.5)):
        for place, value in enumerate(share.tolist() if share is not None else []):
            step = WIDTH / BARS
            parts.append(_bar(place * step, value / most * (HEIGHT - 20), step * width - 1, colour))
    unit = "" if of in ("number", "time") else " characters"
    ends = (_told(low, of) + unit, _told(high, of) + unit)
    return _svg(parts, ends)


def _shares(quantiles: list[float], edges: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    values = np.interp(np.linspace(0, 1, 1001), np.linspace(0, 1, QUANTILES), quantiles)
    return np.asarray(np.histogram(values, edges)[0] / len(values))


def _words(now: Mapping[str, Any], then: Mapping[str, Any] | None) -> str:
    before = (then or {}).get("counts") or {}
    n, m = max(1, now["given"]), max(1, (then or {}).get("given", 1))
    names = sorted(
        {*now["counts"], *before}, key=lambda one: (-now["counts"].get(one, 0) / n - before.get(one, 0) / m, one)
    )
    shown = names[:WORDS]
    most = max(max(now["counts"].get(one, 0) / n, before.get(one, 0) / m) for one in shown) or 1.0
    parts = []
    for place, name in enumerate(shown):
        top = place * 15
        for share, colour, height in ((before.get(name, 0) / m, THEN, 12), (now["counts"].get(name, 0) / n, NOW, 6)):
            width = share / most * (WIDTH - 180)
            parts.append(f'<rect x="120" y="{top}" width="{width:.1f}" height="{height}" fill="{colour}"/>')
        label = name if len(name) <= 18 else f"{name[:17]}…"
        parts.append(f'<text x="114" y="{top + 10}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<text x="{WIDTH}" y="{top + 10}" text-anchor="end">{now["counts"].get(name, 0) / n:.1%}</text>')
    more = f" and {len(names) - WORDS:,} more" if len(names) > WORDS else ""
    return _svg(parts, (more, ""), height=len(shown) * 15 + 16)


def _bar(x: float, height: float, width: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{HEIGHT - 18 - height:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
    )


def _svg(parts: list[str], ends: tuple[str, str], height: int = HEIGHT) -> str:
    low, high = (escape(one) for one in ends)
    parts += [f'<text x="0" y="{height - 4}">{low}</text>']
    parts += [f'<text x="{WIDTH}" y="{height - 4}" text-anchor="end">{high}</text>']
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    return f'<svg {size} role="img">{"".join(parts)}</svg>'


def _told(value: float, of: str) -> str:
    return str(np.datetime64(int(value), "s"))[:16] if of == "time" else f"{value:.4g}"
