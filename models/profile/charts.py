"""Charts of a dataset's fields as inline SVG: shares of each side, over bins or over words."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from html import escape

from mlratchet.models.profile.measure import FieldProfile, SideOfField

COLOURS = {"train": "#3b6fb6", "validation": "#2f9e7e", "test": "#d9822b", "A": "#3b6fb6", "B": "#d9822b"}
WIDTH, HEIGHT, FOOT = 340, 128, 18  # pixels; `FOOT` holds the ends of the axis
LONG_S = 14 * 86_400  # seconds between the ends of an axis beyond which days are enough
WORDS, LETTERS, LINE = 8, 22, 19  # words of a chart, their length, the height of one


def figure(value: float) -> str:
    """A number as a person reads it: four digits, thousands parted."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def ticks(low: float, high: float, *, most: int = 4) -> list[float]:
    """Round values between two, as an axis is labelled: a step of 1, 2 or 5 times a power of ten; at most `most`, and
    one where `low` is less than `high`."""
    exact = (high - low) / most
    power = 10.0 ** math.floor(math.log10(exact))
    for step in (power, 2 * power, 5 * power, 10 * power):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first < most and last >= first:
            return [at * step for at in range(first, last + 1)]
    return [low]


def shown(value: float, kind: str, *, days: bool = False) -> str:
    """A value of a field; a time as a date, with the hour where it has one, unless `days` are enough."""
    if kind != "time":
        return figure(value)
    moment = dt.datetime.fromtimestamp(value, dt.UTC)
    return f"{moment:%Y-%m-%d}" if days or (moment.hour, moment.minute) == (0, 0) else f"{moment:%Y-%m-%d %H:%M}"


def bins_chart(one: FieldProfile) -> str:
    """The first side as bars, the others as lines over the same bins; empty where no row has a value."""
    sides = [(side, found) for side, found in one.sides.items() if found.bins]
    if not sides:
        return ""
    highest = max(max(found.bins) for _, found in sides)
    tall, count = HEIGHT - FOOT, len(one.edges) - 1
    wide = WIDTH / count

    def y(share: float) -> float:
        return tall - (tall - 16) * share / highest

    (first, bars), *lines = sides
    drawn = [
        f'<rect x="{at * wide + 0.5:.1f}" y="{y(share):.1f}" width="{max(wide - 1, 1):.1f}" '
        f'height="{tall - y(share):.1f}" fill="{COLOURS[first]}" opacity=".38"/>'
        for at, share in enumerate(bars.bins)
        if share
    ]
    for side, found in lines:
        points = " ".join(
            f"{x:.1f},{y(s):.1f}" for at, s in enumerate(found.bins) for x in (at * wide, (at + 1) * wide)
        )
        drawn.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[side]}" stroke-width="1.6"/>')
    low, high = one.edges[0], one.edges[-1]
    whole = all(edge % 1 == 0.5 for edge in one.edges)
    ends = (low + 0.5, high - 0.5) if whole else (low, high)
    kind = one.kind if one.measured == "value" else "number"
    days = high - low > LONG_S
    title = f"{one.name}: share of rows by {one.measured if one.measured != 'value' else one.unit or 'value'}"
    return _svg(
        title,
        HEIGHT,
        f'<line x1="0" x2="{WIDTH}" y1="{tall}" y2="{tall}" stroke="#c9d1de"/>{"".join(drawn)}'
        f'<text x="0" y="{HEIGHT - 4}">{escape(shown(ends[0], kind, days=days))}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">{escape(shown(ends[1], kind, days=days))}</text>'
        f'<text x="{WIDTH}" y="11" text-anchor="end" class="q">{highest:.0%}</text>',
    )


def words_chart(one: FieldProfile, *, width: int = WIDTH, most: int = WORDS, order: Sequence[str] = ()) -> str:
    """A line per word, the most frequent first: a bar for the first side, a mark for each other; and how many more."""
    sides = {side: found for side, found in one.sides.items() if found.given}
    if not sides:
        return ""
    names = [*order, *(word for word in _frequent(sides) if word not in order)] if order else _frequent(sides)
    rows, rest = names[:most], names[most:]
    highest = max((_share(found, word) for word in rows for found in sides.values()), default=1.0) or 1.0
    left, room = 150, width - 150 - 44
    drawn = []
    for at, word in enumerate(rows):
        top = at * LINE
        told = word if len(word) <= LETTERS else f"{word[: LETTERS - 1]}…"
        drawn.append(f'<text x="{left - 8}" y="{top + 14}" text-anchor="end" class="w">{escape(told)}</text>')
        for number, (side, found) in enumerate(sides.items()):
            reach = room * _share(found, word) / highest
            if number == 0:
                drawn.append(
                    f'<rect x="{left}" y="{top + 4}" width="{max(reach, 0.5):.1f}" height="12" rx="2" '
                    f'fill="{COLOURS[side]}" opacity=".42"/>'
                    f'<text x="{left + room + 6}" y="{top + 14}" class="q">{_share(found, word):.1%}</text>'
                )
            else:
                drawn.append(
                    f'<rect x="{left + reach - 1.2:.1f}" y="{top + 2}" width="2.4" height="16" fill="{COLOURS[side]}"/>'
                )
    tall = len(rows) * LINE
    if rest:
        different = max(found.different or 0 for found in sides.values())
        more = f"and {max(len(rest), different - len(rows)):,} more" if different else "and many more"
        drawn.append(f'<text x="{left}" y="{tall + 13}" class="q">{more}</text>')
        tall += LINE
    return _svg(f"{one.name}: share of rows by word", max(tall, LINE), "".join(drawn), width=width)


def _frequent(sides: Mapping[str, SideOfField]) -> list[str]:
    totals: dict[str, int] = {}
    for found in sides.values():
        for word, count in found.counts.items():
            totals[word] = totals.get(word, 0) + count
    return sorted(totals, key=lambda word: (-totals[word], word))


def _share(found: SideOfField, word: str) -> float:
    return found.counts.get(word, 0) / found.given if found.given else 0.0


def sides_bar(rows: Mapping[str, int], width: int = 1228) -> str:
    """The sides of the split in one bar, as wide as the page: one that ends before would look like rows of no side."""
    total, x, drawn = sum(rows.values()) or 1, 0.0, []
    for side, count in rows.items():
        wide = width * count / total
        drawn.append(
            f'<rect x="{x:.1f}" y="0" width="{max(wide - 2, 0):.1f}" height="26" rx="3" fill="{COLOURS[side]}"/>'
        )
        if wide > 150:
            words = f"{side} {count:,} ({count / total:.0%})"
            drawn.append(f'<text x="{x + 10:.1f}" y="17" fill="#fff" style="fill:#fff;font-weight:600">{words}</text>')
        x += wide
    return _svg("Rows by side of the split", 26, "".join(drawn), width=width)


def _svg(title: str, height: float, inside: str, *, width: int = WIDTH) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {width} {height:g}" width="{width}" height="{height:g}">'
        f"<title>{escape(title)}</title>{inside}</svg>"
    )
