"""A dataset as one self-contained HTML page, 1,280 pixels wide: no script, no request to anywhere."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

from mlratchet.models.profile.charts import COLOURS, LONG_S, bins_chart, figure, shown, sides_bar, words_chart
from mlratchet.models.profile.chosen import PER_CLASS, ChosenRow, in_turn
from mlratchet.models.profile.measure import FieldProfile
from mlratchet.models.profile.pictures import spectrogram, thumbnail
from mlratchet.models.profile.profile import DataProfile

MOST_FIELDS, MOST_COLUMNS, MOST_CLASSES = 60, 12, 24  # on the page; of a table of rows; of the chart of classes
TEXTS, TEXT_LETTERS, CELL_LETTERS, SOUNDS, ROWS = 12, 420, 48, 24, 16
LENGTHS = ("text", "letters", "image", "audio")
STYLE = """
*{box-sizing:border-box}body{font:14px/1.5 system-ui,sans-serif;color:#1d2433;background:#f6f7fa;margin:0}
main{max-width:1276px;margin:0 auto;padding:28px 24px 60px}h1{font-size:25px;margin:0 0 2px}
h3.over{margin:14px 0 6px}
h2{font-size:17px;margin:34px 0 10px}h3{font-size:14px;margin:0;overflow-wrap:anywhere}
.note{color:#5b6478;font-size:13px;margin:2px 0}
.card{background:#fff;border:1px solid #e2e6ee;border-radius:8px;padding:14px 16px}
.facts{display:flex;gap:12px;margin:18px 0 14px}.facts .card{flex:1;padding:10px 16px}
.facts b{display:block;font-size:22px;line-height:1.3}.facts span,.kind{color:#5b6478;font-size:12px}
.grid{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:14px}.grid .card{min-height:120px}
.beside{display:grid;grid-template-columns:672px minmax(0,1fr);gap:14px}
@media(max-width:1100px){.beside{grid-template-columns:minmax(0,1fr)}.grid{grid-template-columns:repeat(2,minmax(0,1fr))}
 .card{overflow-x:auto}.facts{flex-wrap:wrap}.texts{columns:1}.sounds{grid-template-columns:repeat(3,1fr)}}
.head{display:flex;justify-content:space-between;gap:8px;margin-bottom:8px}.kind{white-space:nowrap}
.gap{color:#b3261e}svg{display:block;max-width:100%;height:auto}
svg text{font:11px system-ui,sans-serif;fill:#5b6478}svg text.w{fill:#1d2433;font-size:12px}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 5px 0 14px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
td,th{padding:5px 9px;border-bottom:1px solid #eef0f5;text-align:left;vertical-align:top;overflow-wrap:anywhere}
th{color:#5b6478;font-weight:600;font-size:12px}td.n,th.n{text-align:right}tr:last-child td{border-bottom:0}
.sheet{display:flex;flex-wrap:wrap;gap:6px}
.sheet img,.sheet .none{width:104px;height:104px;object-fit:contain;background:#eef0f5;border-radius:4px;
 image-rendering:auto}
.line{display:grid;grid-template-columns:150px 1fr;gap:14px;padding:9px 0;border-bottom:1px solid #eef0f5;
 align-items:center}
.line:last-child{border-bottom:0}.line>b{overflow-wrap:anywhere}
.sounds{display:grid;grid-template-columns:repeat(5,1fr);gap:12px}
.sounds img{width:100%;height:96px;border-radius:4px;background:#000}
.sounds div{font-size:12px;overflow-wrap:anywhere}.texts{columns:2;column-gap:28px}
.texts p{break-inside:avoid;margin:0 0 14px}
.tag{display:inline-block;background:#e8eef8;color:#28518e;border-radius:4px;padding:0 7px;font-size:12px;
 margin-right:6px}
.letters{font-family:ui-monospace,monospace;font-size:12px;overflow-wrap:anywhere}
.stats{margin-top:8px;color:#5b6478;font-size:12px}
"""


def data_page(profile: DataProfile, *, name: str) -> str:
    """The page of a pipeline's dataset."""
    title = f"{name}: what the data holds"
    about = f"Dataset {profile.dataset_id[:12]} of snapshot {profile.snapshot_id[:12]}. {profile.reading}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p class='note'>{escape(about)}</p>",
        _facts(profile),
        _sides(profile),
        _label(profile),
        _fields(profile),
        _examples(profile),
    ]
    return whole_page(title, parts)


def whole_page(title: str, parts: Sequence[str]) -> str:
    """A document of these parts, which are HTML already."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def facts(told: Sequence[tuple[str, str]]) -> str:
    """(what, value) in a line of cards."""
    cards = "".join(f'<div class="card"><b>{escape(v)}</b><span>{escape(k)}</span></div>' for k, v in told)
    return f'<div class="facts">{cards}</div>'


def _facts(profile: DataProfile) -> str:
    gaps = sum(one.missing for one in profile.fields if one.input)
    cells = sum(one.missing + one.given for one in profile.fields if one.input) or 1
    learnt = (f"learnt: {profile.label.name}", "a number")
    told = [
        ("rows", f"{sum(profile.rows.values()):,}"),
        ("inputs", f"{sum(one.input for one in profile.fields):,}"),
        ("classes", f"{len(profile.classes):,}") if profile.classes else learnt,
        ("cells not given", f"{gaps / cells:.2%}"),
    ]
    return facts(told)


def _sides(profile: DataProfile) -> str:
    key = "".join(
        f'<i class="key" style="background:{COLOURS[side]}"></i>{side} {count:,}'
        for side, count in profile.rows.items()
    )
    looked = ""
    if dict(profile.looked_at) != dict(profile.rows):
        part = f"{sum(profile.looked_at.values()):,} of {sum(profile.rows.values()):,} rows"
        looked = f"<p class='note'>What stands of fields below is of {part}, evenly spread.</p>"
    return f"{sides_bar(profile.rows)}<p class='note' style='margin:8px 0 0 -14px'>{key}</p>{looked}"


def _label(profile: DataProfile) -> str:
    one = profile.label
    if not profile.classes:
        chart, words = bins_chart(one), f"What is learnt: {one.name}"
        return f'<h2>{escape(words)}</h2><div class="card" style="max-width:400px">{chart}{_stats(one)}</div>'
    chart = words_chart(one, width=640, most=MOST_CLASSES)
    rows = [
        [escape(name), *(f"{one.sides[side].counts.get(name, 0):,}" for side in profile.rows)]
        for name in sorted(profile.classes, key=lambda n: (-sum(s.counts.get(n, 0) for s in one.sides.values()), n))
    ]
    more = f"<p class='note'>{len(rows) - MOST_CLASSES:,} more classes</p>" if len(rows) > MOST_CLASSES else ""
    table = html_table(["class", *profile.rows], rows[:MOST_CLASSES], numeric=range(1, 4)) + more
    return (
        f"<h2>Classes of {escape(one.name)}</h2><div class='beside'>"
        f'<div class="card">{chart}</div><div class="card">{table}</div></div>'
    )


def _fields(profile: DataProfile) -> str:
    shown_ = profile.fields[:MOST_FIELDS]
    cards = "".join(f'<div class="card">{_head(one)}{_chart(one)}{_stats(one)}</div>' for one in shown_)
    more = len(profile.fields) - len(shown_)
    key = (
        "Share of the rows: bars are training rows, green and orange lines validation and test rows; numbers below are "
    )
    key += "of training rows. Bins hold the middle 99 %, what lies beyond is in the outermost."
    note = f"<p class='note'>{more:,} more fields: `ratchet data NAME --json` has all.</p>" if more else ""
    return (
        f'<h2>Fields</h2><p class="note" style="margin-bottom:10px">{key}</p><div class="grid">{cards}</div>{note}'
        if cards
        else ""
    )


def _head(one: FieldProfile) -> str:
    rows = one.missing + one.given
    gap = f" · <span class='gap'>{one.missing / rows:.1%} not given</span>" if one.missing else ""
    aside = "" if one.input else " · no input"
    return (
        f"<div class='head'><h3>{escape(one.name)}</h3><span class='kind'>{escape(one.kind)}{aside}{gap}</span></div>"
    )


def _chart(one: FieldProfile) -> str:
    words = any(found.counts for found in one.sides.values())
    return (words_chart(one) if words else bins_chart(one)) or "<p class='note'>no row has a value</p>"


def _stats(one: FieldProfile) -> str:
    """Of the training rows."""
    found = one.sides.get("train") or next(iter(one.sides.values()))
    if found.counts or not found.given:
        words = f"{found.different:,} different words" if found.different is not None else "very many different words"
        words = "one word in all rows" if found.different == 1 else words
        return f"<div class='stats'>{words}</div>" if found.counts else ""
    kind = one.kind if one.measured == "value" else "number"
    unit = f" {one.unit}" if one.unit and one.measured == "value" else ""
    low, high = found.least or 0.0, found.most or 0.0
    days = high - low > LONG_S
    parts = [f"{shown(low, kind, days=days)} to {shown(high, kind, days=days)}{escape(unit)}"]
    parts += [f"median {shown(found.quantiles['p50'], kind, days=days)}"] if found.quantiles else []
    if kind != "time" and found.mean is not None and found.deviation is not None:
        parts.append(f"mean {figure(found.mean)} ± {figure(found.deviation)}")
    what = f"{one.measured}: " if one.measured != "value" else ""
    return f"<div class='stats'>{what}{' · '.join(parts)}</div>"


def _examples(profile: DataProfile) -> str:
    """Training rows as a person would look at them: by the kinds of their fields."""
    held = [row for rows in profile.examples.values() for row in rows]
    if not held:
        return ""
    kinds = {one.name: one.kind for one in profile.fields if one.name in held[0].values}
    parts = [_pictures(profile, name) for name, kind in kinds.items() if kind == "image"]
    parts += [_sounds(profile, name) for name, kind in kinds.items() if kind == "audio"]
    parts += [_texts(profile, name, kind) for name, kind in kinds.items() if kind in ("text", "letters")]
    plain = [name for name, kind in kinds.items() if kind not in (*LENGTHS, "tensor")]
    if plain:
        parts.append(_rows(profile, plain, kinds))
    note = "<p class='note'>Training rows, the same ones each time; whoever looks at test rows begins to fit them.</p>"
    return f"<h2>Examples</h2>{note}{''.join(parts)}"


def _pictures(profile: DataProfile, field: str) -> str:
    lines = []
    for name, rows in profile.examples.items():
        images = "".join(_image(row, thumbnail, field) for row in rows if row.values.get(field) is not None)
        lines.append(
            f'<div class="line"><b>{escape(name)}</b><div class="sheet">{images}</div></div>'
            if name
            else f'<div class="sheet">{images}</div>'
        )
    more = f"<p class='note'>{profile.more_classes:,} more classes</p>" if profile.more_classes else ""
    words = f"{field}: up to {PER_CLASS} pictures of each class" if profile.classes else f"{field}: pictures"
    return f'<h3 class="over">{escape(words)}</h3><div class="card">{"".join(lines)}{more}</div>'


def _image(row: ChosenRow, draw: Callable[[Any], bytes | None], field: str) -> str:
    png = draw(row.values[field])
    title = escape(f"{row.label}: {row.id}")
    if png is None:
        return f'<div class="none" title="{title}"></div>'
    return f'<img title="{title}" alt="{title}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _sounds(profile: DataProfile, field: str) -> str:
    rows = [row for row in in_turn(profile.examples, SOUNDS) if row.values.get(field) is not None]
    cells = "".join(
        f"<div>{_image(row, spectrogram, field)}<span class='tag'>{escape(row.label)}</span>{escape(row.id[:40])}</div>"
        for row in rows
    )
    words = f"{field}: log-mel spectrograms, up to 5 seconds from left to right, 20 Hz to 8 kHz from bottom to top"
    return f'<h3 class="over">{escape(words)}</h3><div class="card sounds">{cells}</div>'


def _texts(profile: DataProfile, field: str, kind: str) -> str:
    rows = [row for row in in_turn(profile.examples, TEXTS) if row.values.get(field)]
    look = " class='letters'" if kind == "letters" else ""
    told = "".join(
        f"<p{look}><span class='tag'>{escape(row.label)}</span>{escape(cut(row.values[field], TEXT_LETTERS))}</p>"
        for row in rows
    )
    return f'<h3 class="over">{escape(field)}: {len(rows)} of them</h3><div class="card texts">{told}</div>'


def _rows(profile: DataProfile, names: Sequence[str], kinds: dict[str, str]) -> str:
    columns = names[:MOST_COLUMNS]
    rows = [
        [
            f"<span class='tag'>{escape(row.label)}</span>",
            *(_cell(row.values.get(name), kinds[name]) for name in columns),
        ]
        for row in in_turn(profile.examples, ROWS)
    ]
    numeric = [at for at, name in enumerate(columns, 1) if kinds[name] == "number"]
    more = f"<p class='note'>{len(names) - len(columns)} more columns</p>" if len(names) > len(columns) else ""
    table = html_table([profile.label.name, *columns], rows, numeric=numeric)
    return f'<h3 class="over">Rows of the table</h3><div class="card">{table}{more}</div>'


def _cell(value: Any, kind: str) -> str:
    if value is None or value != value:  # NaN
        return "<span class='note'>–</span>"
    if kind in ("number", "time"):
        return escape(shown(float(value), kind))
    return escape(cut(str(value), CELL_LETTERS))


def cut(text: str, most: int) -> str:
    """The beginning of a text."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numeric: Sequence[int] | range) -> str:
    """Cells are HTML already, the head is not; `numeric`: columns that stand to the right."""
    look = [' class="n"' if at in numeric else "" for at in range(len(head))]
    top = "".join(f"<th{c}>{escape(h)}</th>" for c, h in zip(look, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{c}>{v}</td>" for c, v in zip(look, row, strict=True)) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"
