"""How data comes in: preparation, loading, memory, data sets."""

from __future__ import annotations

from typing import Any

from rows import about, newest, table


def preparation() -> list[str]:
    rows = newest("preparation", "rows")
    lines = ["", "## Preparation: a table of 8 numbers and 2 categories", ""]
    lines += [
        "Fitted on all rows, all rows prepared, and one row asked for, as a server does. The limit copies the columns.",
        "",
    ]
    lines += ["| rows | side | fit, s | apply, s | a request of one row, ms |", "|---|---|---|---|---|"]
    for row in rows:
        for side, seconds in row["seconds"].items():
            fit, request = (
                f"{seconds[one] * by:.2f}" if one in seconds else "" for one, by in (("fit", 1), ("request", 1000))
            )
            lines.append(f"| {row['rows']:,} | {side} | {fit} | {seconds['apply']:.2f} | {request} |")
    return [*lines, "", *(f"Measured {about(row)}." for row in rows)]


def loader() -> list[str]:
    rows = newest("loader", "kind", "megabytes")
    lines = ["", "## Loader: from S3 to batches", ""]
    lines += [
        "Batches of 256 rows in random order, a process a side, from the moment that it has a client. The limit is",
        "parallel ranged GETs of our shards by boto3, with which nothing is done; `limit, streams` the same by the",
        "GETs that our copies are made with, which keep nothing in memory. Ours are verified by SHA-256 and copied to",
        "the disk. A warm side reads copies.",
    ]
    cells = []
    for row in rows:
        for name, one in row["sides"].items():
            rates = f"{one['samples_per_s']:,}", one["mb_per_s"], f"{row['ratios'][name]:.2f}"
            costs = one["cpu_s_per_gb"], one["first_s"] or ""
            cells.append([f"{row['kind']}, {row['megabytes']} MB", name, *rates, *costs])
    lines += table("data | side | samples/s | MB/s | ratio to the limit | CPU s per GB | first batch, s", cells)
    missing = {side: why for row in rows for side, why in row["missing"].items()}
    notes = [f"Not measured: {side} ({why})." for side, why in missing.items()]
    return [*lines, "", *notes, *(f"Measured {about(row)}." for row in rows)] if rows else []


STEPS = ("read, check, sort", "measure", "split, shards, preparation", "training", "scoring", "batch scoring")
UNFINISHED = (
    "half an hour of waiting for pages (its memory as it was seen then); since then a row in random order brings in "
    "its own page alone"
)
SHORT = ("read, check, sort", "measure", "shards", "training", "scoring", "`ratchet score`")


def memory() -> list[str]:
    found = [row for row in newest("memory", "megabytes", "characters") if row.get("first_peaks_mb")]
    rows = sorted(found, key=lambda row: (row["characters"], row["megabytes"]))
    lines = ["", "## Memory of the whole road", ""]
    lines += [
        "From a CSV to a verdict: MB of anonymous memory of all processes together (the run, its children, two ranks",
        "with their agent and forkserver, the scorer) at most in every step. Files that are mapped are not among it.",
        "The first row is a delivery of 1 MB: what the processes take by themselves. Where a limit is told, the group",
        "could not have more (what is above is killed), files that are read and mapped among it. `ratchet score` takes",
        "all that was delivered once more, in two children on two cores; - was measured before it was among them.",
        "",
        f"| MB | limit, MB | rows | characters a row | most | in | {' | '.join(SHORT)} | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for number, row in enumerate(rows):
        if not number:
            lines.append(_peaks(row["first_megabytes"], "", "", row["characters"], row["first_peaks_mb"], ""))
        limit, minutes = row.get("limit_mb"), sum(row["seconds"].values()) / 60
        told = "" if limit is None else f"{limit:.0f}", f"{row['rows']:,}", row["characters"], row["peaks_mb"]
        lines.append(_peaks(row["megabytes"], *told, f"{minutes:.0f}"))
    ended = [
        f"{row['megabytes']} MB within {row['limit_mb']:.0f} were ended in {row['unfinished']}, after {UNFINISHED}."
        for row in rows
        if row.get("unfinished")
    ]
    return [*lines, "", *ended, about(rows[-1])] if rows else []


def _peaks(megabytes: int, limit: str, rows: str, characters: int, peaks: dict[str, float], minutes: str) -> str:
    most = max(peaks, key=lambda step: peaks[step])
    told = " | ".join(str(peaks.get(step, "-")) for step in STEPS)
    return f"| {megabytes} | {limit} | {rows} | {characters} | {peaks[most]} | {most} | {told} | {minutes} |"


def dataset() -> list[str]:
    tables = newest("dataset", "rows", file="dataset", where=lambda row: row.get("format", "csv") == "csv")
    tables += newest("dataset", "format", "rows", file="dataset", where=lambda row: row.get("format", "csv") != "csv")
    rows, taken = tables, newest("snapshot", "objects", file="dataset")
    lines = ["", "## Making a dataset", ""]
    lines += [
        "A file of ten numbers and a label a row, in a folder: snapshot, records read, checked and sorted by id, split",
        "and written as shards. The limit is Polars, which reads the same file into memory and checks it.",
        "",
        "| format | rows | MB | what | seconds | CPU s | peak MB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        sides = {**row["steps"], "ours together": together(row["steps"]), "Polars": row.get("polars")}
        for name, side in sides.items():
            if side is not None:
                peak = {"ours together": row["peak_mb"], "Polars": side.get("peak_mb")}.get(name, "")
                told = f"{name} | {side['wall_s']:.1f} | {side['cpu_s']:.1f} | {peak}"
                lines.append(f"| {row.get('format', 'csv')} | {row['rows']:,} | {row['megabytes']} | {told} |")
    lines += ["", "A snapshot of small objects, over a store in a folder.", ""]
    lines += ["| objects | what | seconds | CPU s |", "|---|---|---|---|"]
    for row in taken:
        for name, side in row["sides"].items():
            lines.append(f"| {row['objects']:,} | {name} | {side['wall_s']:.2f} | {side['cpu_s']:.2f} |")
    return [*lines, "", *(f"Measured {about(row)}." for row in [*rows, *taken])] if rows or taken else []


def together(steps: dict[str, Any]) -> dict[str, float]:
    return {unit: sum(step[unit] for step in steps.values()) for unit in ("wall_s", "cpu_s")}
