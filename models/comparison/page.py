"""A comparison as one self-contained HTML page: no script, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

from mlratchet.models.comparison.compare import Comparison, Difference
from mlratchet.models.comparison.latency import SideBySide
from mlratchet.models.objectives.naming import objective_of

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2433;max-width:1080px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #dfe3ec}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-weight:600;text-align:left;color:#5b6478}td,th{padding:.3rem .6rem;border-bottom:1px solid #eef0f5}
td.n,th.n{text-align:right}.b{color:#0b7a3e;font-weight:600}.a{color:#b3261e;font-weight:600}.none{color:#5b6478}
summary{cursor:pointer;color:#5b6478;padding:.6rem 0}
.small{white-space:nowrap;color:#5b6478;font-size:.87rem}
.note,.how{color:#5b6478;font-size:.87rem}img{max-width:100%}
.bar{position:relative;height:14px;width:110px;background:#f3f5f9}
.bar i{position:absolute;top:5px;height:4px;background:#93a1bd}
.bar b{position:absolute;top:2px;width:3px;height:10px;background:#1d2433}
.bar u{position:absolute;top:0;width:1px;height:14px;background:#c3cad9;left:50%}
"""
WORDS = {"a": "A is better", "b": "B is better", "neither": "no difference shown"}


def number(value: float | None) -> str:
    """Four significant places after the point, or a dash."""
    return "–" if value is None else f"{value:.4f}"


def span(ends: tuple[float, float] | None) -> str:
    """An interval in words."""
    return "–" if ends is None else f"{ends[0]:.4f} to {ends[1]:.4f}"


def _difference(found: Difference) -> str:
    """With its sign, and that of both ends of its interval."""
    value, ends = found.difference, found.difference_interval
    told = ["–" if value is None else f"{value:+.4f}", "–" if ends is None else f"{ends[0]:+.4f} to {ends[1]:+.4f}"]
    return f"{told[0]}<br><span class='small'>{told[1]}</span>"


def render(
    comparison: Comparison,
    *,
    name: str,
    a: Mapping[str, Any],
    b: Mapping[str, Any],
    rows_from: str,
    latency: SideBySide | None,
    pictures: Mapping[str, bytes],
) -> str:
    """The page. `a` and `b` are the facts shown of each version, `version` among them; `pictures` are PNG bytes."""
    title = f"{name}: version {a['version']} (A) and version {b['version']} (B)"
    confidence = f"{comparison.confidence:.0%}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='note'>{comparison.n} test rows, scored now by both versions: {escape(rows_from)}.</p>",
        f"<p class='note'>Intervals are {confidence}; differences are B minus A, paired by row.</p>",
        _facts(a, b),
        f"<h2>Metrics</h2>{_metrics(overall(comparison))}",
    ]
    classes = tuple(m for m in comparison.metrics if m not in overall(comparison))
    if classes:
        what = "labels" if any("_label_" in m.metric for m in classes) else "classes"
        parts.append(
            f"<details><summary>{len(classes)} metrics of single {what}: among so many, one in twenty intervals of "
            f"equal models excludes 0</summary>{_metrics(classes)}</details>"
        )
    if latency is not None:
        parts.append(f"<h2>Latency</h2>{_latency(latency)}")
    if comparison.slices or comparison.skipped_columns:
        parts.append(f"<h2>Slices</h2>{_slices(comparison)}")
    parts.append(f"<h2>Disagreements</h2>{_disagreements(comparison)}")
    for caption, png in pictures.items():
        data = base64.b64encode(png).decode()
        parts.append(f'<h2>{escape(caption)}</h2><img alt="{escape(caption)}" src="data:image/png;base64,{data}">')
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def overall(comparison: Comparison) -> tuple[Difference, ...]:
    """The metrics that are not of a single class or label."""
    return tuple(m for m in comparison.metrics if "_class_" not in m.metric and "_label_" not in m.metric)


def _table(head: list[str], rows: list[list[str]], numeric: frozenset[int]) -> str:
    """Cells are HTML already."""
    cell = [' class="n"' if i in numeric else "" for i in range(len(head))]
    top = "".join(f"<th{c}>{h}</th>" for c, h in zip(cell, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{v}</td>" for c, v in zip(cell, row, strict=True)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _facts(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    rows = [[escape(key), escape(str(a[key])), escape(str(b.get(key, "–")))] for key in a]
    return _table(["", "A", "B"], rows, frozenset())


def _bar(found: Difference, widest: float) -> str:
    """Where the interval of the difference lies; better for B is to the right."""
    ends = found.difference_interval
    if ends is None or found.difference is None or widest <= 0:
        return ""
    sign = 1 if found.direction == "higher" else -1
    low, high = sorted(50 + sign * 48 * end / widest for end in ends)
    at = 50 + sign * 48 * found.difference / widest
    line = f'<i style="left:{low:.1f}%;width:{high - low:.1f}%"></i><b style="left:{at:.1f}%"></b>'
    return f'<div class="bar"><u></u>{line}</div>'


def _better(found: Difference) -> str:
    words = escape(found.reason) or WORDS[found.better]
    return f'<span class="{found.better if found.better != "neither" else "none"}">{words}</span>'


def _metrics(metrics: tuple[Difference, ...]) -> str:
    rows = []
    for m in metrics:
        widest = max((abs(end) for end in m.difference_interval or ()), default=0.0)
        rows.append(
            [
                f"{escape(m.metric)}<br><span class='how'>{escape(m.direction)} is better; {escape(m.unit)}</span>",
                f"{number(m.a)}<br><span class='small'>{span(m.a_interval)}</span>",
                f"{number(m.b)}<br><span class='small'>{span(m.b_interval)}</span>",
                _difference(m),
                _bar(m, widest),
                f"{_better(m)}<br><span class='how'>{escape(m.method)}</span>",
            ]
        )
    head = ["metric", "A", "B", "difference", "← worse · better →", ""]
    return _table(head, rows, frozenset({1, 2, 3}))


def _latency(found: SideBySide) -> str:
    rows = [
        [q, f"{found.a_ms[q]:.3f} ms", f"{found.b_ms[q]:.3f} ms", f"{found.b_ms[q] / found.a_ms[q]:.2f} x"]
        for q in found.a_ms
    ]
    note = f"<p class='note'>One row a forward, one thread, {found.n} forwards of each in turn on this machine.</p>"
    return note + _table(["quantile", "A", "B", "B / A"], rows, frozenset({1, 2, 3}))


def _slices(comparison: Comparison) -> str:
    rows = [
        [
            escape(s.column),
            escape(s.told),
            str(s.difference.n),
            number(s.difference.a),
            number(s.difference.b),
            _difference(s.difference),
            _better(s.difference),
        ]
        for s in comparison.slices
    ]
    metric = comparison.slices[0].difference.metric if comparison.slices else ""
    head = ["column", "value", "rows", "A", "B", f"difference of {escape(metric)}", ""]
    skipped = "; ".join(f"{escape(name)}: {escape(why)}" for name, why in comparison.skipped_columns.items())
    parts = []
    if rows:
        parts.append("<p class='note'>Intervals are widened for the number of slices (Bonferroni).</p>")
        parts.append(_table(head, rows, frozenset({2, 3, 4, 5})))
    if skipped:
        parts.append(f"<p class='note'>Columns without slices: {skipped}.</p>")
    return "".join(parts)


def _disagreements(comparison: Comparison) -> str:
    share = comparison.disagreeing_rows / comparison.n
    unit = objective_of(comparison.task).badness_unit
    words = f"<p>{comparison.disagreeing_rows} of {comparison.n} rows ({share:.1%}) have different answers.</p>"
    rows = [
        [
            f"<code>{escape(d.id)}</code>",
            escape(d.target),
            escape(d.a),
            escape(d.b),
            f"{d.a_badness:.3f}",
            f"{d.b_badness:.3f}",
            '<span class="b">B</span>' if d.b_badness < d.a_badness else '<span class="a">A</span>',
        ]
        for d in comparison.disagreements
    ]
    head = ["row", "target", "A said", "B said", f"A, {unit}", f"B, {unit}", "closer"]
    return words + (_table(head, rows, frozenset({4, 5})) if rows else "")
