"""How a model is served: requests and swaps."""

from __future__ import annotations

from typing import Any

from rows import about, newest, table


def serving() -> list[str]:
    rows = newest("serving", "model", "at_once")
    lines = ["", "## Serving: CPU time of an answer", ""]
    lines += [
        "One row a request, one thread. The limit is bare uvicorn with a constant answer, plus the forward as the",
        "product asks for it; in brackets, where measured, the ratio to a limit with the program as torch asks it.",
    ]
    cells = []
    for row in rows:
        ours = row["sides"]["ratchet"]
        times = f"{ours['p50_ms']:.2f}", f"{ours['p99_ms']:.2f}"
        ratio = f"{row['ratio']:.2f}" + (f" ({row['torch_ratio']:.2f})" if "torch_ratio" in row else "")
        costs = ours["cpu_ms"], row["limit_cpu_ms"], ratio
        cells.append([row["model"], row["at_once"], *costs, f"{ours['per_s']:,.0f}", *times])
    names = "model | requests under way | CPU ms | limit, CPU ms | ratio | answers/s | p50, ms | p99, ms"
    lines += table(names, cells)
    lines += ["", about(rows[-1])] if rows else []
    return [*lines, *beside_peers(newest("serving", "model", "at_once", where=lambda row: len(row["sides"]) > 2))]


def beside_peers(rows: list[dict[str, Any]]) -> list[str]:
    """CPU time, rate and tail of every server of that run, by the number of requests under way."""
    if not rows:
        return []
    lines = [
        "",
        "The MLP beside other servers, in turns in one run: CPU of all processes of a server, ms by the answer;",
    ]
    lines += ["answers a second; p99, ms. `benchmarks/serving_peers.py` says how each is asked."]
    cells = []
    for name in rows[0]["sides"]:
        sides = [row["sides"][name] for row in rows]
        told = [f"{side['cpu_ms']:.2f}, {side['per_s']:,.0f}, {side['p99_ms']:.1f}" for side in sides]
        cells.append([name, *told])
    lines += table("server | " + " | ".join(f"{row['at_once']} under way" for row in rows), cells)
    return [*lines, "", about(rows[-1])]


def inference_log() -> list[str]:
    """The same server with its log and without."""
    rows = newest("inference log", "model", file="inference_log")
    lines = ["", "## Serving: what the inference log costs", ""]
    lines += [
        "64 requests of one row under way, at a server with its log and at one without, in turns; CPU of the server's",
        "process by the request. The log writer is a process beside it, with CPU of its own. The goal is at most 3 %",
        "more in the server. Presence alone: what the server without its log takes more beside a process that is as",
        "busy as the writer and has nothing to do with it. Own part: what the log takes in the server by itself,",
        "as a part of what an answer takes without it.",
    ]
    cells = []
    for row in rows:
        more = f"{row['cpu_more']:.1%} ({row['cpu_more_from']:.1%}, {row['cpu_more_to']:.1%})"
        rates = f"{row['per_s_off']:,.0f}", f"{row['per_s_on']:,.0f}"
        writer = row.get("writer_cpu_ms", "")  # not measured by earlier rows
        alone = ""
        if "beside_more" in row:
            alone = f"{row['beside_more']:.1%} ({row['beside_more_from']:.1%}, {row['beside_more_to']:.1%})"
        own = f"{(row['offer_us'] + row['frames_us']) / 1000 / row['cpu_ms_off']:.1%}"
        cells.append(
            [row["model"], row["cpu_ms_off"], row["cpu_ms_on"], more, alone, own, *rates, row["dropped"], writer]
        )
    names = "model | CPU ms without | with | more (from, to, by round) | presence alone | own part | answers/s without"
    names += " | with | dropped | CPU ms of the writer"
    lines += table(names, cells)
    return [*lines, "", about(rows[-1])] if rows else []


def swap() -> list[str]:
    """Of the newest run, and of a server by the number of its pipelines."""
    rows = newest("swap", "swaps", file="swap")
    lines = ["", "## Serving: swaps under load", ""]
    lines += [
        "Eight requests of one row under way, an MLP 64-512-512-10 exported and read back for each swap, one after",
        "the other without a pause. The way back: from the entry being seen to the new champion answering, verified,",
        "with the version before still loaded; the ledger is in memory, and what a store would be asked is counted.",
    ]
    names = "swaps | answers | lost | mixed | longest pause, ms (quiet) | p99, ms (quiet) | a swap with a load, ms"
    names += " | way back, ms (most) | its requests | memory before, after, MB"
    cells = []
    for row in rows:
        pauses = f"{row['longest_ms']} ({row['quiet_longest_ms']})", f"{row['p99_ms']} ({row['quiet_p99_ms']})"
        back = f"{row['back_ms']} ({row['back_most_ms']})", row["back_requests"]
        held = f"{row['memory_before_mb']}, {row['memory_after_mb']}"
        counts = row["swaps"], f"{row['answers']:,}", row["lost"], row["mixed"]
        cells.append([*counts, *pauses, row["load_ms"], *back, held])
    lines += table(names, cells)
    by_pipelines = newest("serving memory", "pipelines", file="swap")
    resident = [(row["pipelines"], row["resident_mb"]) for row in by_pipelines]
    lines += table("pipelines in one process | resident, MB", resident)
    return [*lines, "", about(rows[-1])] if rows else []


def neighbours() -> list[str]:
    """Of the newest run."""
    rows = newest("neighbours", "claim")
    lines = ["", "## Serving: what another pipeline costs the first", ""]
    if not rows:
        return []
    row = rows[-1]
    lines += [
        f"An MLP is asked {row['asked_per_s']} times a second, from when each request is due, whatever stands beside",
        f"it: a CNN of about 20 ms with {row['under_way']} requests under way, in a process of its own (its share of",
        "the CPU) and in the same one; a model that raises; bodies of a MB, no JSON; pictures of 12 megapixels.",
    ]
    cells = []
    for side in row["sides"]:
        other = f"{side['other_per_s']:,.0f}", ", ".join(map(str, side["other_statuses"]))
        same = "yes" if side["same"] else "no"
        cells.append([side["beside"], f"{side['p50_ms']:.2f}", f"{side['p99_ms']:.2f}", side["errors"], same, *other])
    names = "beside | p50, ms | p99, ms | errors | same answers | answers/s of the other | its statuses"
    return [*lines, *table(names, cells), "", about(row)]
