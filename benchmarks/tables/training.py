"""How training runs: engine, checkpoints, recovery, start, logging, GPUs."""

from __future__ import annotations

from rows import about, newest, table


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
    lines = ["", "## Recovery: kill -9 of one of two ranks to the first new step"]
    told = ("kills", "recovered", "median_s", "worst_s", "import_torch_s")
    names = "kills | recovered | median (s) | worst (s) | `import torch` alone (s)"
    lines += table(names, [[row[one] for one in told] for row in rows])
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
