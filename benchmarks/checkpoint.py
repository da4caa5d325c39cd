"""What a checkpoint costs the step loop: ours in the background against torch.save + upload_file, on the running stack.

    RATCHET_HOME=... python benchmarks/checkpoint.py [--megabytes 200] [--rounds 5]

The stall of a side is the time of a fixed number of steps with one checkpoint in their middle, less that of the same
steps without one; the sides run interleaved. The limit is one copy of the state in memory.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from mlratchet.infra.settings import load_settings
from mlratchet.models.training.checkpoint import Position
from mlratchet.models.training.checkpointer import Checkpointer
from mlratchet.models.training.config import CheckpointConfig
from mlratchet.tasks.wiring import Adapters

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    torch.set_num_threads(1)
    store = Adapters(load_settings()).store
    elements = options.megabytes * 1_000_000 // 4 // 3
    state = {
        "model": {"w": torch.randn(elements)},
        "optimizer": {"0.m": torch.randn(elements), "0.v": torch.randn(elements)},
    }
    weight, x = torch.randn(512, 512), torch.randn(64, 512)
    writer = Checkpointer(
        store, f"benchmark-{time.time_ns()}", 1, CheckpointConfig(keep=1), refuse_if_stale=lambda: None
    )
    counter = iter(range(1, 10_000))

    def position() -> Position:
        return Position(step=next(counter), epochs_done=0, history=[], sums=[])

    def nothing() -> None:
        return None

    def ours() -> None:
        writer.save(position(), state)

    def synchronous() -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checkpoint.pt"
            torch.save(state, file)
            store.upload_file("benchmark/checkpoint.pt", file)

    def copy() -> None:
        for tensors in state.values():
            for tensor in tensors.values():
                tensor.clone()

    def steps(with_checkpoint: Callable[[], None]) -> float:
        began = time.perf_counter()
        for step in range(options.steps):
            if step == 5:
                with_checkpoint()
            state["model"]["w"][:512] += (x @ weight).sum(0) * 1e-9
        return time.perf_counter() - began

    sides = {"nothing": nothing, "ratchet": ours, "torch.save + upload_file": synchronous, "copy in memory": copy}
    taken: dict[str, list[float]] = {name: [] for name in sides}
    blocked: list[float] = []
    for counted in range(-1, options.rounds):
        for name, side in sides.items():
            before = writer.stall_s
            seconds = steps(side)
            writer.wait()
            if counted >= 0:
                taken[name].append(seconds)
                if name == "ratchet":
                    blocked.append(writer.stall_s - before)
    writer.close()
    stalls = {
        name: statistics.median(s - n for s, n in zip(seconds, taken["nothing"], strict=True))
        for name, seconds in taken.items()
        if name != "nothing"
    }
    row = {
        "claim": "checkpoint", "date": dt.date.today().isoformat(), "torch": torch.__version__,
        "machine": platform.machine(), "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0],
        "megabytes": options.megabytes, "stall_s": {name: round(value, 4) for name, value in stalls.items()},
        "blocked_s": round(statistics.median(blocked), 4),
        "ratio": round(stalls["ratchet"] / stalls["torch.save + upload_file"], 4),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "checkpoint.jsonl").open("a") as sink:
        sink.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
