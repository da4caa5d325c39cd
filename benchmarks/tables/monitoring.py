"""How a deployed model is watched: detectors and drift."""

from __future__ import annotations

import math
from typing import Any

from rows import newest


def detectors() -> list[str]:
    rows = newest("detectors of worlds", "world", "n", "change", "size", "detector", file="detectors")
    if not rows:
        return []
    lines = ["", "## Detectors: false alarms in a year, and rows until a known change is found", ""]
    lines += [
        "A window is an hour. Ours is the one alarm of the monitor, over every stream of inputs, outputs, missing",
        "values, service and quality together, one label for five rows, `minimum_effect` 0.1, `false_alarms_per_year`",
        "1; its alarms without a change are counted over 2 years of windows drawn from 32. One is false where what",
        "its stream promised is true of all rows that windows are drawn from. Where it is not, as the reference",
        "promised too much by chance, the alarm is right, and is counted behind the +. The other rules are shown with",
        "their defaults and with the threshold that one in a year (8,766) of windows without a change of the same",
        "world exceeds, from 600 of them. Rows: the median until the alarm, from the first window with the change on;",
        "of ours 9 runs, each until 40 windows, drawn from 4 of 1,000 rows or 16 of 100; of the others by the share",
        "of 20 windows in which they sound. What each change is stands in `benchmarks/detectors_worlds.py`; *natural*",
        "is what the data does by itself: second voices, the last quarter of the ratings of seven months (*ratings*)",
        "and of 21 years (*years*). Bold: no other at one alarm a year is sooner.",
    ]
    for world, n in dict.fromkeys((row["world"], row["n"]) for row in rows):
        lines += _detectors_of([row for row in rows if (row["world"], row["n"]) == (world, n)], f"{world}, {n:,}")
    return [*lines, *_agreement(rows), *_at_the_edge(), *_below_the_effect(), *_quiet(), *_known()]


def _detectors_of(rows: list[dict[str, Any]], title: str) -> list[str]:
    changes = [one for one in dict.fromkeys((row["change"], row["size"]) for row in rows) if one[1] > 0]
    found = {(row["detector"], row["change"], row["size"]): row["rows"] for row in rows if row["size"] > 0}
    lines = ["", f"{title} rows an hour, {rows[0]['streams']} streams:", ""]
    lines += ["| detector | false alarms a year | " + " | ".join(f"{c} {s:g}" for c, s in changes) + " |"]
    lines += ["|---" * (2 + len(changes)) + "|"]
    equal = [name for name in dict.fromkeys(row["detector"] for row in rows) if name.endswith("one a year")]
    quiet = (row for row in rows if row["change"] == "none")
    for row in sorted(quiet, key=lambda one: not one["detector"].startswith("ratchet")):
        cells = []
        for change in changes:
            count = found.get((row["detector"], *change))
            best = min((found.get((name, *change)) or math.inf for name in equal), default=math.inf)
            cell = "-" if count is None else f"{count:,}"
            ours = row["detector"] == "ratchet" and count is not None and count <= best
            cells.append(f"**{cell}**" if ours else cell)
        right = row.get("of_untrue_promises_per_year")
        rate = f"{row['false_alarms_per_year']:,g}" + (f" + {right:g}" if right else "")
        lines += [f"| {row['detector']} | {rate} | " + " | ".join(cells) + " |"]
    untrue = sorted({name for row in rows for name in row.get("untrue", ())})
    lines += ["", f"Not true here: the promise of {', '.join(untrue)}."] if untrue else []
    return [*lines, "", f"Measured {rows[-1]['date']}, {rows[-1]['cores']} cores, load {rows[-1]['load']}."]


def _agreement(rows: list[dict[str, Any]]) -> list[str]:
    """Of our reading of Evidently's defaults with Evidently itself."""
    asked = [row for row in rows if row["change"] == "agreement"]
    if not asked:
        return []
    windows = sum(row["windows"] for row in asked)
    names = asked[0]["agrees"]
    shares = {name: sum(row["agrees"][name] * row["windows"] for row in asked) / windows for name in names}
    told = "; ".join(f"{name}: {share:.1%}" for name, share in shares.items())
    return [
        "",
        f"Evidently 0.7.23 itself, asked about {windows} of these windows, says what our reading says ({told}).",
    ]


def _at_the_edge() -> list[str]:
    rows = newest("detectors at the edge", file="detectors")
    if not rows:
        return []
    row = rows[-1]
    lines = [
        "",
        "Alarms a year where every score has exactly the mean that is promised, over 20 streams, at a stated 1",
    ]
    lines += [f"a year; {row['years']:,} years of hourly windows ({row['windows']:,}) each:", ""]
    lines += ["| limit, and whether streams move together | alarms a year |", "|---|---|"]
    return lines + [f"| {name} | {rate:.2f} |" for name, rate in row["alarms_per_year"].items()]


MOVED = "Alarms a year, at a stated 1, where one of 20 streams is a number that moved for good by this part of"


def _below_the_effect() -> list[str]:
    rows = newest("detectors below the effect", file="detectors")
    if not rows:
        return []
    parts, rates = _by_part(rows[-1])
    lines = [
        "",
        MOVED,
        f"`minimum_effect` 0.1; {rows[-1]['years']} years of windows each. The rate is promised up to a quarter:",
        "",
        "| rows of the reference, of an hour | " + " | ".join(parts) + " |",
        "|---" * (1 + len(parts)) + "|",
    ]
    return lines + [f"| {int(reference):,}, {int(hour):,} | {rate} |" for (reference, hour), rate in rates.items()]


def _by_part(row: dict[str, Any]) -> tuple[list[str], dict[tuple[str, str], str]]:
    """The parts of the effect, and by what stands before them the cells of their rates."""
    held = {tuple(name.split(", ")): rate for name, rate in row["alarms_per_year"].items()}
    parts = list(dict.fromkeys(name[2] for name in held))
    befores = dict.fromkeys((name[0], name[1]) for name in held)
    return parts, {one: " | ".join(f"{held[*one, part]:,g}" for part in parts) for one in befores}


def _quiet() -> list[str]:
    """Where the alarm of drift begins: what it costs, and what it keeps quiet."""
    rows = newest("detectors quiet", "world", "quiet_up_to", "minimum_effect", file="detectors")
    if not rows:
        return []
    changes = list(dict.fromkeys(change for row in rows for change in row["windows"]))
    late = [change for change in changes if any((row["windows"].get(change) or 40) > 1 for row in rows)]
    lines = ["", "Windows of 1,000 rows until the alarm (- none within 40), by `quiet_up_to` and `minimum_effect`:", ""]
    lines += ["| world | quiet_up_to | minimum_effect | false alarms a year | " + " | ".join(late) + " |"]
    lines += ["|---" * (4 + len(late)) + "|"]
    for row in rows:
        cells = ["" if one not in row["windows"] else _count(row["windows"][one]) for one in late]
        about = f"{row['world']} | {row['quiet_up_to']:g} | {row['minimum_effect']:g}"
        lines += [f"| {about} | {row['false_alarms_per_year']:g} | " + " | ".join(cells) + " |"]
    told = [one for one in changes if one not in late]
    lines += ["", f"In the first window everywhere: {', '.join(told)}."] if told else []
    return [*lines, *_quiet_below()]


def _count(windows: float | None) -> str:
    return "-" if windows is None else f"{windows:g}"


def _quiet_below() -> list[str]:
    rows = newest("detectors quiet below", file="detectors")
    if not rows:
        return []
    parts, rates = _by_part(rows[-1])
    lines = ["", MOVED, f"`minimum_effect` 0.1, in hours of 10,000 rows; {rows[-1]['years']} years of them:", ""]
    lines += ["| quiet_up_to | rows of the reference | " + " | ".join(parts) + " |", "|---" * (2 + len(parts)) + "|"]
    return lines + [f"| {quiet} | {int(reference):,} | {rate} |" for (quiet, reference), rate in rates.items()]


def _known() -> list[str]:
    rows = newest("detectors known", "world", file="detectors")
    if not rows:
        return []
    lines = ["", "The logarithm of what one window of 1,000 rows with a tilt of 0.3 says along the very direction of"]
    lines += [f"it (median of {rows[-1]['runs']}; about 17 sound at once): against a mean that is known without error,"]
    lines += ["as rules have that are set by windows of the same world, and against a reference and two errors of it:"]
    lines += ["", "| world | moved, standard deviations | known | reference of | says | four times the rows |"]
    lines += ["|---|---|---|---|---|---|"]
    for row in rows:
        known, reference, more = row["log_e_values"].values()
        about = f"{row['world']} | {row['moved']} | {known} | {row['of_reference']:,}"
        lines += [f"| {about} | {reference} | {more} |"]
    return lines


def drift() -> list[str]:
    rows = newest("drift")
    if not rows:
        return []
    sides = rows[-1]["sides"]
    lines = ["", "## Drift of a day: 20 columns in one pass", ""]
    lines += ["16 numbers and 4 categories against 100,000 rows; reading is not counted. Goal: 20 x Evidently.", ""]
    lines += ["| side | seconds | CPU s | CPU µs a row | memory grown by (MB) |", "|---|---|---|---|---|"]
    for name, one in sides.items():
        each = one["cpu_s"] / one["rows"] * 1e6
        lines.append(f"| {name} | {one['seconds']} | {one['cpu_s']} | {each:.2f} | {one['grown_mb']} |")
    each = {name.split(",")[0]: one["cpu_s"] / one["rows"] for name, one in sides.items()}
    others = [f"{value / each['ratchet']:.0f} x" for name, value in each.items() if name != "ratchet"]
    row = rows[-1]
    told = f"CPU time a row, Evidently to ratchet: {', '.join(others)}. " if others else ""
    return [*lines, "", f"{told}Measured {row['date']}, {row['cores']} cores, load {row['load']}."]
