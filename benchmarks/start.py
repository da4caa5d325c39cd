"""From the start of a process to its end, when it imports what a command or a run needs and does nothing.

    python benchmarks/start.py [--rounds 9]

Sides interleaved, each in a fresh process: Python's cycle collector as it comes, and as `collect_seldom` sets it. The
limit is a process that imports torch, which a run cannot do without, and leaves by `os._exit`.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"
SELDOM = "from mlratchet.infra.machine.interpreter import collect_seldom; collect_seldom(); "
WHAT = {
    "a command that reads (history, audit)": "import mlratchet.tasks.support.versions, mlratchet.tasks.actions.audit",
    "a run": "import mlratchet.flows.retrain",
}
LIMIT = "import os, torch; os._exit(0)"


def seconds(code: str) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    sides = {
        (name, side): before + code
        for name, code in WHAT.items()
        for side, before in (("as it comes", ""), ("seldom", SELDOM))
    }
    sides["the limit", "import torch"] = LIMIT
    taken: dict[tuple[str, str], list[float]] = {side: [] for side in sides}
    for code in sides.values():
        seconds(code)  # files come from the page cache
    for _ in range(rounds):
        for side, code in sides.items():
            taken[side].append(seconds(code))
    row = {
        "claim": "start",
        "seconds": [[*side, round(statistics.median(found), 3)] for side, found in taken.items()],
        "rounds": rounds,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "start.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
