"""How a pipeline runs around its training: retrain, gates, promotion, long ledgers."""

from __future__ import annotations

from rows import about, newest, table


def gates() -> list[str]:
    rows = newest("gates", "rows", "resamples", "full")
    lines = ["", "## Gates: paired bootstrap of four metrics against scipy.stats.bootstrap", ""]
    lines += [
        "Ten classes, 90 % percentile intervals of the difference of two models. Interleaved: ours with all resamples,",
        "SciPy with a sample of them, scaled. In full: SciPy once with all of them, on a machine whose load moved.",
        "Ends: largest distance of two interval ends, in standard errors of two Monte-Carlo quantiles. The limit is",
        "drawing the row indices of every resample and nothing else; ours draws no row of a million singly.",
    ]
    names = "rows | resamples | ours (s) | ours, CPU (s) | ours, memory (MB) | SciPy interleaved (s) | ratio"
    names += " | SciPy in full (s) | limit (s) | ends | date, load"
    told = []
    for row in rows:
        ends = ", ".join(f"{name} {value}" for name, value in row["ends_in_monte_carlo_errors"].items())
        full = round(sum(row["scipy_s"].values())) if row["full"] else ""
        sampled, ratio = round(sum(row["scipy_scaled_s"].values())), f"{row['ratio_scaled']:.0f}"
        ours = [row["ours_s"], row["ours_cpu_s"], row["ours_peak_mb"]]
        cells = [row["rows"], row["resamples"], *ours, sampled, ratio, full, row["limit_s"], ends]
        told.append([*cells, f"{row['date']}, {row['load']:.1f}"])
    return [*lines, *table(names, told), "", about(rows[-1])] if rows else []


def promotion() -> list[str]:
    rows = newest("promotion", "cores")
    lines = ["", "## Promotion: from the verdict of the champion gate to the first answer of the new version", ""]
    lines += [
        "Real retrains of digits on the embedded stack; goal: under 2 s. Judging is the gate itself. A rollback is",
        "timed from the call, with its decision, to the first answer.",
    ]
    told = (
        "promoted", "judging_s_median", "gate_to_served_s_median", "gate_to_served_s_max", "rollback_s_median",
        "rollback_s_max",
    )  # fmt: skip
    names = "promoted | judging, median (s) | gate to served, median (s) | worst (s) | rollback, median (s) | worst (s)"
    lines += table(names, [[row[one] for one in told] for row in rows])
    return [*lines, "", about(rows[-1])] if rows else []


WALL = (
    ("command to run", "the command, until there is a run"),
    ("run to process", "until the worker has started its process"),
    ("to first step", "until the first step"),
    ("train", "training step"),
    ("loop", "of it, the loop"),
    ("evaluate", "evaluation"),
    ("gates", "gates"),
    ("register", "registration"),
    ("measure", "measuring the artifact"),
    ("deploy", "the server has it"),
    ("other steps", "all other steps"),
    ("between steps", "between steps"),
    ("last step to end", "from the last step to the end of the run"),
    ("end to command", "until the command ends"),
)


def retrain() -> list[str]:
    rows = newest("retrain", "note")
    if not rows:
        return []
    lines = ["", "## Retrain: a whole one and an unchanged re-run", ""]
    lines += [
        f"{rows[-1]['rows']:,} rows of ten numbers, two layers, {rows[-1]['epochs']} epochs of batch 32, one process.",
        "Each side is a command; services run. CPU counts every process of the stack, services included. Goals on two",
        "idle cores: 10 s above the bare script, and 5 s for an unchanged re-run, whose limit is one listing and one",
        "manifest read. Medians (least to most).",
    ]
    for row in rows:
        sides = row["sides"]
        lines += ["", f"### {row['note'] or 'Now'}", "", "| side | wall (s) | CPU (s) |", "|---|---|---|"]
        lines += [f"| {name} | {spread(side['wall'])} | {spread(side['cpu'])} |" for name, side in sides.items()]
        lines += ["", "| where the wall time goes (s) | retrain | unchanged |", "|---|---|---|"]
        both = [sides["ratchet"], sides["ratchet, unchanged"]]
        for key, words in WALL:
            lines += [f"| {words} | " + " | ".join(cell(side, f"wall {key}") for side in both) + " |"]
        lines += ["", "| where the CPU time goes (s) | retrain | unchanged |", "|---|---|---|"]
        for key in sorted({key for side in both for key in side if key.startswith("cpu ")}):
            words = {"ended": "processes that ended", "helpers": "children of services"}.get(key[4:], key[4:])
            lines += [f"| {words} | " + " | ".join(cell(side, key) for side in both) + " |"]
        lines += [
            "",
            f"{about(row)} before and {row['load_after']} after; the idle stack: {row['idle_cpu_per_s']} CPU-s per s",
        ]
    return lines


def spread(values: list[float]) -> str:
    middle, least, most = values
    return f"{middle} ({least} to {most})"


def cell(side: dict[str, list[float]], key: str) -> str:
    return str(side[key][0]) if key in side else ""


def history() -> list[str]:
    rows = newest("history", "what", "generations", "revision")
    lines = ["", "## History: commands, runs and the audit on a long ledger", ""]
    lines += [
        "Each in a fresh process, on the embedded stack; CPU is that of the command and its children. Goals: flat",
        "within 20 % from 10 to 1,000 generations; an audit of 1,000 under 30 s on two idle cores. What a busy machine",
        "does shows in the load: there CPU is what to trust.",
    ]
    told = []
    for row in rows:
        spread = " to ".join(map(str, row.get("wall_s_spread", [])))
        cells = [row["what"], row["generations"], row["wall_s"], spread, row["cpu_s"], row["rounds"], row["revision"]]
        told.append([*cells, f"{row['date']}, {row['load']:.1f}"])
    lines += table("what | generations | wall (s) | spread | CPU (s) | rounds | revision | date, load", told)
    return [*lines, "", about(rows[-1])] if rows else []
