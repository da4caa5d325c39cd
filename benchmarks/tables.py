"""Write docs/benchmarks.md from the newest rows of benchmarks/results/.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HEAD = """# Benchmarks

Written by `python benchmarks/tables.py` from the newest rows of `benchmarks/results/`. Each script runs its sides
interleaved in one process tree after a warm-up; ratios are what to trust. Machines are shared: absolute figures move.
"""


def newest(claim: str, *keys: str, file: str | None = None) -> list[dict[str, Any]]:
    """The last row per combination of `keys`. `file`: one that holds the rows of several claims."""
    path = HERE / "results" / f"{file or claim}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    rows = [row for row in rows if file is None or row["claim"] == claim]
    return list({tuple(row[k] for k in keys): row for row in rows}.values())


def about(row: dict[str, Any]) -> str:
    return f"{row['date']}, torch {row['torch']}, {row['cores']} cores, load {row['load']:.1f}"


def engine() -> list[str]:
    lines = ["", "## Engine: steps per second, ratio to the bare loop", ""]
    lines += ["A CNN on 16x16 images, fused AdamW, one thread per process. The limit is the bare loop."]
    lines += [
        "",
        "| processes | global batch | allocator | side | steps/s | ratio | CPU ms per step | ratio of CPU time |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in newest("engine", "processes", "batch", "allocator"):
        for name, side in row["sides"].items():
            lines.append(
                f"| {row['processes']} | {row['batch']} | {row['allocator']} | {name} "
                f"| {side['steps_per_s']} | {side['ratio']:.3f} | {side['cpu_ms_per_step']} | {side['cpu_ratio']:.3f} |"
            )
        note = about(row)
    return [*lines, "", note] if newest("engine", "processes", "batch", "allocator") else []


def checkpoint() -> list[str]:
    lines = ["", "## Checkpoint: seconds that the step loop loses", ""]
    lines += ["Loss of a loop of steps around one checkpoint to SeaweedFS on the same cores; goal: at most 5 %."]
    lines += ["", "| MB | side | stall (s) |", "|---|---|---|"]
    rows = newest("checkpoint", "megabytes")
    for row in rows:
        lines += [f"| {row['megabytes']} | {name} | {value} |" for name, value in row["stall_s"].items()]
        lines += [f"| {row['megabytes']} | ratio | {row['ratio']} |"]
    return [*lines, "", about(rows[-1])] if rows else []


def start() -> list[str]:
    rows = newest("start")
    if not rows:
        return []
    lines = ["", "## Start: a process that imports and ends", ""]
    lines += ["Medians of fresh processes, with Python's cycle collector as it comes and as `collect_seldom` sets it."]
    lines += ["", "| what | collector | seconds |", "|---|---|---|"]
    lines += [f"| {what} | {side} | {value} |" for what, side, value in rows[-1]["seconds"]]
    return [*lines, "", about(rows[-1])]


def recovery() -> list[str]:
    rows = newest("recovery", "cores")
    lines = ["", "## Recovery: kill -9 of one of two ranks to the first new step", ""]
    lines += ["| kills | recovered | median (s) | worst (s) | `import torch` alone (s) |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row["kills"], row["recovered"], row["median_s"], row["worst_s"], row["import_torch_s"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", about(rows[-1])] if rows else []


def exact_cost() -> list[str]:
    """Seconds of a step in mode exact over those of ordinary DDP with one batch per rank: the bare loop."""
    rows = [row for row in newest("engine", "processes", "batch", "allocator") if "ratchet exact" in row["sides"]]
    if not rows:
        return []
    lines = ["", "## What exact costs: time of a step over that of the bare loop", ""]
    lines += ["V = 4 shards. The cost follows the rows per shard.", ""]
    lines += ["| processes | global batch | allocator | rows per shard | fast | exact |", "|---|---|---|---|---|---|"]
    for row in rows:
        fast, exact = (1 / row["sides"][f"ratchet {mode}"]["ratio"] for mode in ("fast", "exact"))
        lines.append(
            f"| {row['processes']} | {row['batch']} | {row['allocator']} | {row['batch'] // 4} "
            f"| {fast:.2f} x | {exact:.2f} x |"
        )
    return [*lines, "", about(rows[-1])]


def logging() -> list[str]:
    rows = newest("logging", "delay_ms")
    lines = ["", "## Logging: every step, with MLflow slower by a delay", ""]
    lines += ["Time of a step over that of the loop without logging; goal: at most 1.02.", ""]
    lines += ["| delay (ms) | side | ms per step | ratio |", "|---|---|---|---|"]
    for row in rows:
        for side, value in row["ms_per_step"].items():
            lines.append(f"| {row['delay_ms']:g} | {side} | {value} | {row['ratio'].get(side, 1.0):.3f} |")
    return [*lines, "", about(rows[-1])] if rows else []


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
        "Batches of 256 rows in random order, a process a side. The limit is parallel ranged GETs of our shards,",
        "with which nothing is done; ours are verified by SHA-256 and copied to the disk. A warm side reads copies.",
        "",
        "| data | side | samples/s | MB/s | ratio to the limit | CPU s per GB | first batch, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for name, one in row["sides"].items():
            lines.append(
                f"| {row['kind']}, {row['megabytes']} MB | {name} | {one['samples_per_s']:,} | {one['mb_per_s']} "
                f"| {row['ratios'][name]:.2f} | {one['cpu_s_per_gb']} | {one['first_s'] or ''} |"
            )
    missing = {side: why for row in rows for side, why in row["missing"].items()}
    notes = [f"Not measured: {side} ({why})." for side, why in missing.items()]
    return [*lines, "", *notes, *(f"Measured {about(row)}." for row in rows)] if rows else []


def memory() -> list[str]:
    rows = sorted(newest("memory", "megabytes"), key=lambda row: row["megabytes"])
    lines = ["", "## Memory of the whole road", ""]
    lines += [
        "From a CSV to scored rows, in one process: MB of anonymous memory at most in every step, above what the",
        "process began with. Files that are mapped are not among it.",
        "",
        "| MB | rows | what | peak MB | seconds |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        lines += [
            f"| {row['megabytes']} | {row['rows']:,} | {step} | {peak} | {row['seconds'][step]} |"
            for step, peak in row["peaks_mb"].items()
        ]
    return [*lines, "", about(rows[-1])] if rows else []


def dataset() -> list[str]:
    rows, taken = newest("dataset", "rows", file="dataset"), newest("snapshot", "objects", file="dataset")
    lines = ["", "## Making a dataset", ""]
    lines += [
        "A CSV of ten numbers and a label, in a folder: snapshot, records read, checked and sorted by id, split and",
        "written as shards. The limit is Polars, which reads the same file into memory and checks it.",
        "",
        "| rows | MB | what | seconds | CPU s | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        sides = {**row["steps"], "ours together": together(row["steps"]), "Polars": row.get("polars")}
        for name, side in sides.items():
            if side is not None:
                peak = {"ours together": row["peak_mb"], "Polars": side.get("peak_mb")}.get(name, "")
                told = f"{name} | {side['wall_s']:.1f} | {side['cpu_s']:.1f} | {peak}"
                lines.append(f"| {row['rows']:,} | {row['megabytes']} | {told} |")
    lines += ["", "A snapshot of small objects, over a store in a folder.", ""]
    lines += ["| objects | what | seconds | CPU s |", "|---|---|---|---|"]
    for row in taken:
        for name, side in row["sides"].items():
            lines.append(f"| {row['objects']:,} | {name} | {side['wall_s']:.2f} | {side['cpu_s']:.2f} |")
    return [*lines, "", *(f"Measured {about(row)}." for row in [*rows, *taken])] if rows or taken else []


def together(steps: dict[str, Any]) -> dict[str, float]:
    return {unit: sum(step[unit] for step in steps.values()) for unit in ("wall_s", "cpu_s")}


def serving() -> list[str]:
    rows = newest("serving", "model", "at_once")
    lines = ["", "## Serving: CPU time of an answer", ""]
    lines += [
        "One row a request, one thread. The limit is bare uvicorn with a constant answer, plus the forward.",
        "",
        "| model | requests under way | CPU ms | limit, CPU ms | ratio | answers/s | p50, ms | p99, ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ours = row["sides"]["ratchet"]
        lines.append(
            f"| {row['model']} | {row['at_once']} | {ours['cpu_ms']} | {row['limit_cpu_ms']} | {row['ratio']:.2f} "
            f"| {ours['per_s']:,.0f} | {ours['p50_ms']:.2f} | {ours['p99_ms']:.2f} |"
        )
    return [*lines, "", about(rows[-1])] if rows else []


def inference_log() -> list[str]:
    """The same server with its log and without."""
    rows = newest("inference log", "model", file="inference_log")
    lines = ["", "## Serving: what the inference log costs", ""]
    lines += [
        "64 requests of one row under way, at a server with its log and at one without, in turns; CPU of the server's",
        "process by the request. The log writer is a process beside it. The goal is at most 3 % more.",
        "",
        "| model | CPU ms without | with | more (from, to, by round) | answers/s without | with | dropped |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['model']} | {row['cpu_ms_off']} | {row['cpu_ms_on']} | {row['cpu_more']:.1%} "
            f"({row['cpu_more_from']:.1%}, {row['cpu_more_to']:.1%}) | {row['per_s_off']:,.0f} "
            f"| {row['per_s_on']:,.0f} | {row['dropped']} |"
        )
    return [*lines, "", about(rows[-1])] if rows else []


def swap() -> list[str]:
    """Of the newest run, and of a server by the number of its pipelines."""
    rows = newest("swap", "swaps", file="swap")
    lines = ["", "## Serving: swaps under load", ""]
    lines += [
        "Eight requests of one row under way, an MLP 64-512-512-10 exported and read back for each swap, one after",
        "the other without a pause. The way back: from the entry being seen to the new champion answering, verified,",
        "with the version before still loaded; the ledger is in memory, and what a store would be asked is counted.",
        "",
        "| swaps | answers | lost | mixed | longest pause, ms (quiet) | p99, ms (quiet) | a swap with a load, ms |",
    ]
    lines[-1] += " way back, ms (most) | its requests | memory before, after, MB |"
    lines += [
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['swaps']} | {row['answers']:,} | {row['lost']} | {row['mixed']} "
            f"| {row['longest_ms']} ({row['quiet_longest_ms']}) | {row['p99_ms']} ({row['quiet_p99_ms']}) "
            f"| {row['load_ms']} | {row['back_ms']} ({row['back_most_ms']}) | {row['back_requests']} "
            f"| {row['memory_before_mb']}, {row['memory_after_mb']} |"
        )
    held = newest("serving memory", "pipelines", file="swap")
    lines += ["", "| pipelines in one process | resident, MB |", "|---|---|"]
    lines += [f"| {row['pipelines']} | {row['resident_mb']} |" for row in held]
    return [*lines, "", about(rows[-1])] if rows else []


def gates() -> list[str]:
    rows = newest("gates", "rows", "resamples", "full")
    lines = ["", "## Gates: paired bootstrap of four metrics against scipy.stats.bootstrap", ""]
    lines += [
        "Ten classes, 90 % percentile intervals of the difference of two models. Interleaved: ours with all resamples,",
        "SciPy with a sample of them, scaled. In full: SciPy once with all of them, on a machine whose load moved.",
        "Ends: largest distance of two interval ends, in standard errors of two Monte-Carlo quantiles. The limit is",
        "drawing the row indices of every resample and nothing else; ours draws no row of a million singly.",
    ]
    lines += ["", "| rows | resamples | ours (s) | ours, CPU (s) | ours, memory (MB) | SciPy interleaved (s) | ratio "]
    lines[-1] += "| SciPy in full (s) | limit (s) | ends | date, load |"
    lines += ["|---|---|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        ends = ", ".join(f"{name} {value}" for name, value in row["ends_in_monte_carlo_errors"].items())
        full = round(sum(row["scipy_s"].values())) if row["full"] else ""
        sampled, ratio = round(sum(row["scipy_scaled_s"].values())), f"{row['ratio_scaled']:.0f}"
        ours = [row["ours_s"], row["ours_cpu_s"], row["ours_peak_mb"]]
        cells = [row["rows"], row["resamples"], *ours, sampled, ratio, full, row["limit_s"], ends]
        cells.append(f"{row['date']}, {row['load']:.1f}")
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return [*lines, "", about(rows[-1])] if rows else []


def promotion() -> list[str]:
    rows = newest("promotion", "cores")
    lines = ["", "## Promotion: from the verdict of the champion gate to the first answer of the new version", ""]
    lines += [
        "Real retrains of digits on the embedded stack; goal: under 2 s. Judging is the gate itself. A rollback is"
    ]
    lines += ["timed from the call, with its decision, to the first answer.", ""]
    lines += [
        "| promoted | judging, median (s) | gate to served, median (s) | worst (s) | rollback, median (s) | worst (s) |"
    ]
    lines += ["|---|---|---|---|---|---|"]
    for row in rows:
        names = ("judging_s_median", "gate_to_served_s_median", "gate_to_served_s_max")
        cells = [row["promoted"], *(row[n] for n in names), row["rollback_s_median"], row["rollback_s_max"]]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
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
    lines += ["", "| what | generations | wall (s) | spread | CPU (s) | rounds | revision | date, load |"]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for row in rows:
        spread = " to ".join(map(str, row.get("wall_s_spread", [])))
        cells = [row["what"], row["generations"], row["wall_s"], spread, row["cpu_s"], row["rounds"], row["revision"]]
        lines.append("| " + " | ".join(map(str, [*cells, f"{row['date']}, {row['load']:.1f}"])) + " |")
    return [*lines, "", about(rows[-1])] if rows else []


def gpu() -> list[str]:
    """From a machine with GPUs; what has not been measured is said."""
    lines = [
        "",
        "## GPUs",
        "",
        "`benchmarks/gpu.sh` (beforehand, with a network: `benchmarks/gpu.sh --fill`) needs torch, numpy, safetensors",
        "and no service. It shows whether mode exact gives the same bits again, after a stop and on two GPUs, both",
        "engines beside the bare loop, and one training of the digits.",
        "",
    ]
    bits = newest("gpu exact", "case", "device", file="gpu") + newest("gpu kernels", "network", "device", file="gpu")
    if not bits:
        untried = "**Not measured yet:** no GPU was at hand. `DEVICE=cpu benchmarks/gpu.sh` tries the script itself."
        return [*lines, untried]
    lines += ["| device | what | same bits |", "|---|---|---|"]
    lines += [f"| {row['device']} | {row.get('case', row.get('network'))} | {row['same_bits']} |" for row in bits]
    lines += ["", "| device | batch | side | steps/s | to the bare loop |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['device']} | {row['batch']} | {row['side']} | {row['steps_per_s']} | {row['ratio']} |"
        for row in newest("gpu engine", "device", "batch", "side", file="gpu")
    ]
    lines += ["", "| device | data | steps | loop (s) | whole (s) | validation accuracy |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {row['device']} | {row['data']} | {row['steps']} | {row['loop_s']} | {row['whole_s']} | "
        f"{row['validation_accuracy']} |"
        for row in newest("gpu training", "device", "data", file="gpu")
    ]
    return lines


def counted_over(detector: str, years: float) -> str:
    """On what the rate of false alarms of one of ours rests."""
    known = {
        "ratchet, drift by window": "200 years, of the share in 40 windows",
        "ratchet, quality": f"{5 * years:g} years",
    }
    return known.get(detector, f"{years:g} years")


def detectors() -> list[str]:
    rows = newest("detectors", "world", "n", "change", "size", "detector")
    if not rows:
        return []
    lines = ["", "## Detectors: false alarms in a year, and rows until a known change is found", ""]
    lines += [
        "A window is an hour; 6 fields; a reference of 2,000 rows (synthetic) and 500 (digits); one label for",
        "five rows; `minimum_effect` 0.1, `false_alarms_per_year` 1. Rows: the median until the alarm, of 8 windows",
        "or 7 runs. False alarms of a rule by window are those of 40 windows; none among them is still compatible",
        "with several hundred a year. Evidently 0.7.23 with its defaults, in an environment of its own with pandas",
        "2.3.3 (with pandas 3 it does not import). What each change is stands in `benchmarks/detectors_worlds.py`.",
    ]
    changes = [one for one in dict.fromkeys((row["change"], row["size"]) for row in rows) if one[0] != "none"]
    for world, n in dict.fromkeys((row["world"], row["n"]) for row in rows):
        ours = [row for row in rows if (row["world"], row["n"]) == (world, n)]
        found = {(row["detector"], row["change"], row["size"]): row["rows"] for row in ours}
        lines += ["", f"{world}, {n:,} rows an hour:", ""]
        lines += ["| detector | false alarms a year | " + " | ".join(f"{c} {s:g}" for c, s in changes) + " |"]
        lines += ["|---" * (2 + len(changes)) + "|"]
        for row in (row for row in ours if row["change"] == "none"):
            name = row["detector"]
            rows_until = [found.get((name, *one)) for one in changes]
            cells = ["not found" if count is None else f"{count:,}" for count in rows_until]
            alarms = f"{row['false_alarms_per_year']:,.1f}"
            if name.startswith("ratchet"):
                alarms += f" ({counted_over(name, row['years'])})"
            elif row["false_alarms_per_year"] == 0:
                alarms = "none in 40 windows"
            lines += [f"| {name} | {alarms} | " + " | ".join(cells) + " |"]
    dates = sorted({row["date"] for row in rows})
    return [*lines, "", f"Measured {', '.join(dates)}, {rows[-1]['cores']} cores."]


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


SECTIONS = (
    engine,
    exact_cost,
    checkpoint,
    recovery,
    start,
    retrain,
    logging,
    preparation,
    loader,
    dataset,
    memory,
    serving,
    inference_log,
    swap,
    gates,
    promotion,
    history,
    detectors,
    drift,
    gpu,
)

if __name__ == "__main__":
    text = "\n".join([HEAD.rstrip(), *(line for section in SECTIONS for line in section())]) + "\n"
    (HERE.parent / "docs" / "benchmarks.md").write_text(text)
    print(text)
