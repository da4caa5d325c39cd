"""Windows of a log as one self-contained HTML page, 1,280 pixels wide: what drifted, since when, what it did to the
metric, and examples of what moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby, pairwise
from typing import Any

from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.asking_again import relied_on
from mlratchet.models.monitoring.finding import Finding
from mlratchet.models.monitoring.measure.columns import column_told_as, figure_of, told_as
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.stretch import MergedWindows
from mlratchet.models.monitoring.window import Figure, WindowRecord
from mlratchet.models.profile.charts import figure, ticks
from mlratchet.models.profile.page import facts, html_table, whole_page
from mlratchet.models.profile.window_shapes import KEY, reliance_part, said, shapes_of, stretch_part

WIDTH, HEIGHT, LEFT, RIGHT, FOOT, TOP = 1180, 190, 54, 5, 22, 12  # pixels of a wide curve
SMALL_WIDTH, SMALL_HEIGHT = 372, 130
MOST_FINDINGS, MOST_DRIFTS = 60, 24
COLOURS = {"alarm": "#b3261e", "warning": "#b26a00", "note": "#5b6478"}
LINE, BAND, PROMISE = "#3b6fb6", "#3b6fb6", "#2f9e7e"
SHOWN_METRICS = 6
DRIFTS = ("inputs", "outputs")  # kinds of findings about a column that moved
SHORT = 26  # letters of a subject that are not broken
ANSWERS: Mapping[str, str] = {
    "estimated_accuracy": "accuracy, estimated from confidence without labels",
    "confidence": "mean confidence",
    "calibration_drift": "right answers, from what their confidence meant",
    "coverage": "labelled, of the rows that are due",
    "reliance": "what the answers rest on: share that moved",
    "disagreement sampled": "another answer by the version before, on a sample",
    "disagreement previous": "another answer by the version before",
    "disagreement shadow": "another answer by the shadow",
}
SERVICE: Mapping[str, str] = {
    "latency_ms_p50": "latency, median, in ms",
    "latency_ms_p99": "latency, 99th percentile, in ms",
    "errors": "errors, share of the requests",
    "refused": "refused, share of the requests",
    "dropped": "not in the log, share of the answers",
}


def windows_page(
    windows: Sequence[WindowRecord], findings: Sequence[Finding], reference: Reference | None, *, pipeline: str,
    gaps: Sequence[str] = (), stretch: MergedWindows | None = None,
) -> str:  # fmt: skip
    """The page. `windows` and `findings` in the order of time; `reference`: of the newest version;
    `stretch`: all windows of it, merged."""
    title = f"{pipeline}: what it was asked, and how it did"
    if not windows:
        parts = [f"<h1>{escape(title)}</h1>", "<p class='note'>No window has ended yet.</p>", _findings(findings)]
        return whole_page(title, parts)
    first, last = windows[0].window.from_s, windows[-1].window.to_s
    versions = sorted({one.version for one in windows})
    told = f"{utc(first)} to {utc(last)}; version{'s' if len(versions) > 1 else ''} {', '.join(map(str, versions))}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='note'>{escape(told)}</p>",
        _gaps(gaps, windows),
        _facts(windows, findings),
        _now(windows[-1]),
        _quality(windows, findings, reference),
        _findings(findings),
        _drifts(windows, findings, reference),
        stretch_part(stretch),
        reliance_part(windows),
        _answers(windows, findings),
        _service(windows, findings),
    ]
    return whole_page(title, parts)


def _gaps(gaps: Sequence[str], windows: Sequence[WindowRecord]) -> str:
    broken = [f"{utc(one.window.from_s)}: {one.problems[0]}" for one in windows if one.problems]
    lines = [*gaps, *broken][:10]
    if not lines:
        return ""
    told = "<br>".join(escape(line[:240]) for line in lines)
    return f'<div class="card" style="border-color:#b3261e"><b class="gap">Not whole</b><br>{told}</div>'


def _facts(windows: Sequence[WindowRecord], findings: Sequence[Finding]) -> str:
    rows = sum(one.counts.get("rows", 0) for one in windows)
    labelled = sum(one.counts.get("labelled", 0) for one in windows)
    severities = [sum(one.severity == which for one in findings) for which in ("alarm", "warning")]
    return facts(
        [
            ("windows", f"{len(windows):,}"),
            ("rows answered", f"{rows:,}"),
            ("labelled", f"{labelled:,}"),
            ("alarms", f"{severities[0]:,}"),
            ("warnings", f"{severities[1]:,}"),
            ("open now", f"{len(windows[-1].open):,}"),
        ]
    )


def _now(newest: WindowRecord) -> str:
    if not newest.open:
        return ""
    rows = [
        [_tag(one["severity"]), _subject(key.replace(":", ": ", 1)), _moment(one["since_s"]), said(one["words"])]
        for key, one in sorted(
            newest.open.items(), key=lambda item: (item[1]["severity"] != "alarm", item[1]["since_s"])
        )
    ]
    table = html_table(["", "what", "since", ""], rows, numeric=())
    return f'<h2>Open now</h2><div class="card">{table}</div>'


def _quality(windows: Sequence[WindowRecord], findings: Sequence[Finding], reference: Reference | None) -> str:
    promise = reference.promises[0] if reference is not None and reference.promises else None
    parts = []
    if promise is not None:
        names = [promise.metric, "estimated_accuracy"] if promise.metric == "accuracy" else [promise.metric]
        shown = next((name for name in names if any(name in one.figures for one in windows)), "")
        if shown:
            marked = [one for one in findings if one.kind in ("quality", "inputs", "outputs")]
            curve = curve_of(windows, shown, findings=marked, bound=promise.bound, width=WIDTH, height=HEIGHT)
            how = "estimated from confidence, no labels yet" if shown == "estimated_accuracy" else "on labelled rows"
            words = (
                f"{shown}, {how}; the line is what was promised by {promise.by} ({promise.bound:.4g}). Marks: findings."
            )
            parts.append(f'<div class="card"><p class="note">{escape(words)}</p>{curve}</div>')
    others = _metrics(windows, promise.metric if promise else "")
    cards = "".join(f'<div class="card"><h3>{escape(name)}</h3>{_small(windows, name)}</div>' for name in others)
    grid = f'<div class="grid" style="margin-top:14px">{cards}</div>' if cards else ""
    return f"<h2>Quality</h2>{''.join(parts)}{grid}" if parts or grid else ""


def _metrics(windows: Sequence[WindowRecord], first: str) -> list[str]:
    """Slices of the watched metric, then the others."""
    skipped = ("drift ", "missing ", "latency", "disagreement ", "against ", "relies ", "relied ")
    also = {"errors", "refused", "slow", "dropped", "error_burn", *ANSWERS, first}
    names = dict.fromkeys(name for one in windows for name in one.figures)
    kept = [name for name in names if not name.startswith(skipped) and name not in also and "_since_" not in name]
    return sorted(kept, key=lambda name: (f"{first} on " not in name, list(names).index(name)))[:SHOWN_METRICS]


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return '<h2>Findings</h2><div class="card">Nothing was found.</div>'
    rows = [
        [
            _tag(one.severity), _moment(one.window.from_s), _subject(f"{one.kind}: {one.subject}"),
            said(one.words), f'<span class="letters" style="white-space:nowrap">{one.id[:12]}</span>',
        ]
        for one in sorted(findings, key=lambda one: (-one.window.to_s, one.severity != "alarm"))[:MOST_FINDINGS]
    ]  # fmt: skip
    table = html_table(["", "window", "what", "", "ratchet finding"], rows, numeric=())
    return f'<h2>Findings</h2><div class="card">{table}</div>'


def _subject(words: str) -> str:
    return f'<span style="white-space:nowrap">{escape(words)}</span>' if len(words) <= SHORT else escape(words)


def _moment(at_s: float) -> str:
    return f'<span style="white-space:nowrap">{utc(at_s)}</span>'


def _tag(severity: str) -> str:
    colour = COLOURS.get(severity, COLOURS["note"])
    return f'<span class="tag" style="background:{colour};color:#fff;white-space:nowrap">{escape(severity)}</span>'


def _drifts(windows: Sequence[WindowRecord], findings: Sequence[Finding], reference: Reference | None) -> str:
    relied = dict(reference.importance) if reference is not None else {}
    if not relied:
        relied = next((told for one in reversed(windows) if (told := relied_on(one.figures))), {})
    importance = {told_as(f"{FIELD}{field}"): share for field, share in relied.items()}
    latest: dict[str, Figure] = {}
    for one in windows:
        latest |= {name.removeprefix("drift "): f for name, f in one.figures.items() if name.startswith("drift ")}
    if not latest:
        return ""
    even = 1 / max(1, len(importance) or len(latest))
    order = sorted(latest, key=lambda name: (-importance.get(name, even) * latest[name].value, name))[:MOST_DRIFTS]
    cards = []
    newest = next((one for one in reversed(windows) if one.sketches), windows[-1])
    for name in order:
        about = [one for one in findings if one.kind in DRIFTS and figure_of(one.kind, one.subject) == f"drift {name}"]
        share = f"relied on for {importance[name]:.0%}" if name in importance else latest[name].method.replace("_", " ")
        since = _since(windows[-1].open, about)
        head = f"<div class='head'><h3>{escape(name)}</h3><span class='kind'>{escape(share)}</span></div>"
        cards.append(
            f"<div class='card'>{head}"
            f"{_small(windows, f'drift {name}', about)}{_shape(newest, reference, name)}"
            f"<div class='stats'>{said(since[:260])}</div></div>"
        )
    words = "Distance from the test rows, window by window, with its interval; most important first. Below each:"
    grid = f'<div class="grid" style="margin-top:10px">{"".join(cards)}</div>'
    return f'<h2>Drift</h2><p class="note">{words} {KEY}</p>{grid}'


def _since(standing: Mapping[str, Mapping[str, Any]], about: Sequence[Finding]) -> str:
    """Of one field: what is open in the newest window, or that it is as usual, and what was found before."""
    for one in about[-1:]:
        open_now = standing.get(f"{one.kind}:{one.subject}")
        if open_now is not None:
            return f"since {utc(open_now['since_s'])}: {open_now['words']}"
        return f"within what is usual now; at {utc(one.window.from_s)}: {one.words}"
    return "within what is usual"


def _shape(newest: WindowRecord, reference: Reference | None, name: str) -> str:
    """How the field was distributed and is now."""
    if reference is None or newest.reference != reference.digest():
        return ""
    column = column_told_as(name)
    then, now = reference.sketches.get(column), newest.sketches.get(column)
    return shapes_of(then, now, reference.kinds.get(column, ""))


def _answers(windows: Sequence[WindowRecord], findings: Sequence[Finding]) -> str:
    there = [name for name in ANSWERS if any(name in one.figures for one in windows)]
    about = {"calibration_drift": "calibration"}
    cards = "".join(
        f'<div class="card"><h3>{escape(ANSWERS[name])}</h3>'
        f"{_small(windows, name, [one for one in findings if one.subject == about.get(name, name)])}</div>"
        for name in there
    )
    return f'<h2>Answers</h2><div class="grid">{cards}</div>' if cards else ""


def _service(windows: Sequence[WindowRecord], findings: Sequence[Finding]) -> str:
    there = [name for name in SERVICE if any(name in one.figures for one in windows)]
    about = [one for one in findings if one.kind in ("service", "data", "hardware")]
    curves = {name: _small(windows, name, [one for one in about if one.subject in name]) for name in there}
    cards = "".join(f'<div class="card"><h3>{SERVICE[name]}</h3>{curve}</div>' for name, curve in curves.items())
    return f'<h2>Service</h2><div class="grid">{cards}</div>' if cards else ""


def _small(windows: Sequence[WindowRecord], name: str, findings: Sequence[Finding] = ()) -> str:
    return curve_of(windows, name, findings=findings, width=SMALL_WIDTH, height=SMALL_HEIGHT)


def _axes(marks: Mapping[float, float], begin: float, end: float, *, width: int, height: int) -> list[str]:
    """Lines at round values, with the height of each, and the moments between which a curve runs."""
    drawn = []
    for value, at in marks.items():
        drawn.append(f'<line x1="{LEFT}" x2="{width}" y1="{at:.1f}" y2="{at:.1f}" stroke="#eef1f6"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{figure(value)}</text>')
    tall = height - FOOT
    drawn.append(f'<line x1="{LEFT}" x2="{width}" y1="{tall}" y2="{tall}" stroke="#c9d1de"/>')
    cut = slice(0, 10) if end - begin > 2 * 86_400 else slice(11, 19)
    drawn.append(f'<text x="{LEFT}" y="{height - 6}">{utc(begin)[cut]} UTC</text>')
    drawn.append(f'<text x="{width}" y="{height - 6}" text-anchor="end">{utc(end)[cut]} UTC</text>')
    return drawn


def _promotions(windows: Sequence[WindowRecord]) -> list[tuple[float, int]]:
    """Where another version answers from, and which."""
    return [(later.window.from_s, later.version) for one, later in pairwise(windows) if one.version != later.version]


def curve_of(
    windows: Sequence[WindowRecord], name: str, *, findings: Sequence[Finding] = (), bound: float | None = None,
    width: int, height: int,
) -> str:  # fmt: skip
    """A figure over time as inline SVG: the values as a line, intervals as a band, findings as marks on the axis."""
    points = [(one.window.to_s, one.figures[name]) for one in windows if name in one.figures]
    if not points:
        return "<p class='note'>not measured</p>"
    begin, end = windows[0].window.from_s, max(windows[-1].window.to_s, windows[0].window.from_s + 1)
    values = [v for _, f in points for v in (f.value, f.low, f.high) if v is not None]
    low, high = min([*values, *([bound] if bound is not None else [])]), max([*values, *([bound] if bound else [])])
    pad = (high - low) * 0.08 or abs(high) * 0.05 or 0.05
    low, high = low - pad if low < 0 or low - pad > 0 else 0.0, high + pad
    if high > 1.0 >= max(values) and min(values) >= 0.0:
        high = 1.0  # a share
    tall, room = height - FOOT, width - LEFT - RIGHT

    def x(at_s: float) -> float:
        return LEFT + room * (at_s - begin) / (end - begin)

    def y(value: float) -> float:
        return tall - (tall - TOP) * (value - low) / (high - low)

    drawn = _axes({value: y(value) for value in ticks(low, high)}, begin, end, width=width, height=height)
    for at_s, version in _promotions(windows):
        drawn.append(
            f'<g><title>version {version} from here on</title><line x1="{x(at_s):.1f}" x2="{x(at_s):.1f}" y1="{TOP}" '
            f'y2="{tall}" stroke="#9aa3b5" stroke-dasharray="2 3"/></g>'
            f'<text x="{x(at_s) + 3:.1f}" y="{tall - 4}">v{version}</text>'
        )
    for _, run in groupby(points, key=lambda point: point[1].low is not None and point[1].high is not None):
        band = [(x(at), f.low, f.high) for at, f in run if f.low is not None and f.high is not None]
        outline = [f"{px:.1f},{y(b):.1f}" for px, _, b in band] + [f"{px:.1f},{y(a):.1f}" for px, a, _ in band[::-1]]
        if len(band) > 1:
            drawn.append(f'<polygon points="{" ".join(outline)}" fill="{BAND}" opacity=".16"/>')
    if bound is not None:
        drawn.append(
            f'<line x1="{LEFT}" x2="{width}" y1="{y(bound):.1f}" y2="{y(bound):.1f}" stroke="{PROMISE}" '
            'stroke-width="1.6" stroke-dasharray="6 4"/>'
        )
    line = " ".join(f"{x(at):.1f},{y(f.value):.1f}" for at, f in points)
    drawn.append(f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="1.8"/>')
    if len(points) <= 60:
        drawn += [f'<circle cx="{x(at):.1f}" cy="{y(f.value):.1f}" r="2.4" fill="{LINE}"/>' for at, f in points]
    for one in findings:
        if one.severity != "note":
            px, colour = x(min(max(one.window.to_s, begin), end)), COLOURS[one.severity]
            mark = f"<title>{escape(one.words)}</title>"
            drawn.append(
                f'<g>{mark}<line x1="{px:.1f}" x2="{px:.1f}" y1="4" y2="{tall}" stroke="{colour}" opacity=".5"/>'
                f'<circle cx="{px:.1f}" cy="5" r="4" fill="{colour}"/></g>'
            )
    return (
        f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f"<title>{escape(name)}</title>{''.join(drawn)}</svg>"
    )
