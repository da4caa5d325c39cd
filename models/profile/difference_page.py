"""What changed between two datasets as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mlratchet.models.profile.charts import COLOURS, bins_chart, words_chart
from mlratchet.models.profile.difference import DataDifference, FieldDifference, NamedRow, ObjectChanges
from mlratchet.models.profile.page import MOST_CLASSES, MOST_FIELDS, facts, html_table, whole_page

OBJECTS = 20  # that are named of each kind


def difference_page(found: DataDifference, *, name: str, a: str, b: str) -> str:
    """The page; `a` and `b` are the datasets as a person named them."""
    title = f"{name}: what changed from {a} to {b}"
    told = [
        ("rows before", f"{sum(found.rows_before.values()):,}"),
        ("rows after", f"{sum(found.rows_after.values()):,}"),
        ("added", f"{found.added:,}"),
        ("removed", f"{found.removed:,}"),
        ("changed", f"{found.changed:,}"),
        ("relabelled", f"{found.relabelled:,}"),
        ("moved to another side", f"{sum(found.moved.values()):,}"),
    ]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='note'>A is dataset {found.a[:12]}, B dataset {found.b[:12]}; {found.same:,} rows are the same.</p>",
        facts(told),
        _classes(found),
        _fields(found.fields),
        _rows(found),
        _objects(found.objects),
    ]
    return whole_page(title, parts)


def _classes(found: DataDifference) -> str:
    if not found.classes:
        return ""
    whole_a, whole_b = (max(1, sum(counts)) for counts in zip(*found.classes.values(), strict=True))
    rows = [
        [
            escape(name),
            f"{a:,}",
            f"{a / whole_a:.1%}",
            f"{b:,}",
            f"{b / whole_b:.1%}",
            f"{b / whole_b - a / whole_a:+.1%}",
        ]
        for name, (a, b) in list(found.classes.items())[:MOST_CLASSES]
    ]
    table = html_table(["class", "rows in A", "", "rows in B", "", "share"], rows, numeric=range(1, 6))
    return f'<h2>Classes</h2><div class="card">{table}</div>'


def _fields(fields: Sequence[FieldDifference]) -> str:
    key = "".join(f'<i class="key" style="background:{COLOURS[side]}"></i>{side}' for side in "AB")
    cards = "".join(f'<div class="card">{_field(one)}</div>' for one in fields[:MOST_FIELDS])
    words = "Share of the rows, the most different first; distance 0: the same, 1: nothing in common."
    return f'<h2>Fields</h2><p class="note">{words}{key}</p><div class="grid" style="margin-top:10px">{cards}</div>'


def _field(one: FieldDifference) -> str:
    told = "in one of the two alone, or of another kind" if one.distance is None else f"distance {one.distance:.3f}"
    head = f"<div class='head'><h3>{escape(one.name)}</h3><span class='kind'>{told}</span></div>"
    chart = ""
    if one.chart is not None:
        chart = bins_chart(one.chart) if one.chart.edges else words_chart(one.chart)
    gaps = [f"{gap:.1%}" if gap is not None else "–" for gap in (one.missing_before, one.missing_after)]
    stats = f"not given: {gaps[0]} → {gaps[1]}" if set(gaps) != {"0.0%"} else ""
    for words, names in (("new", one.new_words), ("gone", one.gone_words)):
        stats += f"<br>{words}: {escape(', '.join(names[:8]))}{' …' if len(names) > 8 else ''}" if names else ""
    return f"{head}{chart}<div class='stats'>{stats}</div>"


def _rows(found: DataDifference) -> str:
    parts = []
    for kind, rows in found.examples.items():
        ways = "; ".join(f"{way}: {count:,}" for way, count in found.moved.items()) if kind == "moved" else ""
        note = f"<p class='note'>{escape(ways)}</p>" if ways else ""
        parts.append(f'<h3 class="over">Rows {kind}</h3>{note}<div class="card">{_named(rows)}</div>')
    return f"<h2>Rows</h2>{''.join(parts)}" if parts else ""


def _named(rows: Sequence[NamedRow]) -> str:
    told = [[escape(row.id[:80]), escape(row.before or "–"), escape(row.after or "–")] for row in rows]
    return html_table(["id", "in A", "in B"], told, numeric=())


def _objects(found: ObjectChanges | None) -> str:
    if found is None:
        return "<p class='note'>A snapshot is gone, so that objects cannot be compared.</p>"
    kinds = [
        (kind, keys)
        for kind, keys in (("added", found.added), ("removed", found.removed), ("changed", found.changed))
        if keys
    ]
    rows = [
        [kind, f"{len(keys):,}", escape(", ".join(keys[:OBJECTS]) + (" …" if len(keys) > OBJECTS else ""))]
        for kind, keys in kinds
    ]
    table = html_table(["", "objects", ""], rows, numeric=(1,)) if rows else "<p class='note'>the same</p>"
    return f'<h2>Delivered objects</h2><div class="card">{table}</div>'
