"""Every row of `benchmarks/gpu.sh`: kernels, exact against exact, both engines against the bare loop, one training."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # the engine's benchmark stands beside this folder
import engine
import training
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.sources.record import Record, Target
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training

NOT_MEASURED = "not measured"
TABLE = "mlratchet.models.workloads.tabular:"
COLUMNS = ["a", "b", "c", "d"]
TABLES: dict[str, dict[str, Any]] = {
    "TableClassifier": {"classes": ["no", "yes"]},
    "TableRegressor": {},
    "TableMultiLabel": {"labels": ["u", "v"]},
    "TableRanker": {},
}
Row = dict[str, Any]


def target_of(kind: str, x: np.ndarray[Any, Any]) -> Target:
    """A learnable target of one row."""
    if kind == "TableClassifier":
        return int(x[0] > 0)
    if kind == "TableMultiLabel":
        return (float(x[0] > 0), float(x[1] > 0))
    return float(max(x[0] + x[1], 0.0))


def kernels(device: torch.device) -> Iterator[Row]:
    """Every built-in network of a table trains twice in mode exact: to a finite loss, and to the same bits."""
    for kind, more in TABLES.items():
        raw, store = MemoryStore("raw"), MemoryStore("store")
        raw.put("t/rows", b"x")
        x = np.random.default_rng(0).normal(size=(800, 4)).astype(np.float32)
        group = {"columns": {}} if kind != "TableRanker" else {}
        records = [
            Record(
                id=f"{n:04d}", x=row, y=target_of(kind, row), content_sha256=f"{n}",
                **(group or {"group": f"q{n // 8}", "columns": {"@group": f"q{n // 8}"}}),
            )
            for n, row in enumerate(x)
        ]  # fmt: skip
        workload = WorkloadRef(use=TABLE + kind, parameters={"columns": COLUMNS, **more})
        names = tuple(more.get("classes", more.get("labels", ())))
        made = write_dataset(
            store, take_snapshot(raw, store, prefix="t/"), records, "code", workload, DataConfig(),
            SourceConfig(prefix="t/"), class_names=names,
        )  # fmt: skip
        digests, losses = set(), []
        for attempt in ("one", "two"):
            job = training.job_of(
                made.id, attempt, epoch=1, device=device.type, processes=1, epochs=3, global_batch_size=64
            )
            job = job.model_copy(update={"workload": workload})
            result = run_training(job, store, rank=0, world=1, device=device, around=Surroundings())
            assert result is not None
            digests.add(result.weights_sha256)
            losses.append(result.history[-1]["train_loss"])
        yield {"claim": "gpu kernels", "network": kind, "same_bits": len(digests) == 1, "loss": round(losses[-1], 4)}


def exactness(folder: Path, dataset: str, device: str, gpus: int) -> Iterator[Row]:
    """The same weights again, after being stopped and resumed, and with two ranks."""

    def sha(name: str, processes: int = 1) -> str:
        job = training.job_of(dataset, name, epoch=1, device=device, processes=processes)
        result = training.train(folder, job)
        assert result is not None
        return result.weights_sha256

    first = sha("first")
    yield {"claim": "gpu exact", "case": "again", "same_bits": sha("again") == first}
    halves = [
        training.job_of(
            dataset,
            "resumed",
            epoch=epoch,
            device=device,
            processes=1,
            log_every_steps=2,
            checkpoint={"every_steps": 2},
        )
        for epoch in (1, 2)
    ]
    left = training.train(folder, halves[0], leave_at=10)
    resumed = training.train(folder, halves[1])
    assert left is None, "the first half was to leave"
    assert resumed is not None, "the second half was to end"
    yield {
        "claim": "gpu exact", "case": "stopped and resumed", "from_step": resumed.resumed_from_step,
        "same_bits": resumed.weights_sha256 == first,
    }  # fmt: skip
    several = sha("two", 2) == first if device == "cpu" or gpus > 1 else NOT_MEASURED
    yield {"claim": "gpu exact", "case": "2 ranks", "same_bits": several}


def engines(device: torch.device, *, rounds: int, steps: int) -> Iterator[Row]:
    """Steps per second of both engines and of the bare loop, interleaved; ratios to the bare loop."""
    for batch in (128, 512, 2048):
        store, dataset = engine.prepare(int(1.1 * batch * steps) + 1000)
        made = {mode: engine.trainer(mode, batch, 0, 1, store, dataset, device) for mode in ("fast", "exact")}
        sides = {"bare loop": engine.bare(made["fast"]), **{f"ratchet {m}": engine.ours(t) for m, t in made.items()}}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for counted in range(-1, rounds):  # one round to warm up
            for name, run in sides.items():
                torch.use_deterministic_algorithms(name == "ratchet exact")
                began = time.perf_counter()
                run(steps)
                if counted >= 0:
                    seconds[name].append(time.perf_counter() - began)
        torch.use_deterministic_algorithms(False)
        bare = seconds["bare loop"]
        for name, taken in seconds.items():
            ratio = statistics.median(b / a for a, b in zip(taken, bare, strict=True))
            rate = steps / statistics.median(taken)
            yield {
                "claim": "gpu engine",
                "batch": batch,
                "side": name,
                "steps_per_s": round(rate, 1),
                "ratio": round(ratio, 3),
            }


def digits(folder: Path, dataset: str, device: str) -> Row:
    """One training, whole: seconds of the loop and of everything, and how right it is."""
    began = time.monotonic()
    job = training.job_of(dataset, "digits", epoch=1, device=device, processes=1, epochs=12, global_batch_size=64)
    result = training.train(folder, job)
    assert result is not None
    last = result.history[-1]
    return {
        "claim": "gpu training", "data": "digits", "steps": result.steps, "loop_s": round(result.seconds, 2),
        "whole_s": round(time.monotonic() - began, 2), "validation_accuracy": round(last["validation_accuracy"], 4),
        "rows_per_s": round(last["rows_per_second"], 1), "trained_on": result.device,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if options.device == "cuda" and not gpus:
        raise SystemExit("no CUDA GPU is seen by torch; DEVICE=cpu tries the script itself")
    device = torch.device(options.device, 0) if options.device == "cuda" else torch.device("cpu")
    where = {
        "date": dt.date.today().isoformat(), "torch": torch.__version__, "python": platform.python_version(),
        "device": torch.cuda.get_device_name(0) if options.device == "cuda" else platform.machine(), "gpus": gpus,
    }  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch, options.out.open("a") as sink:
        dataset = training.write_digits(Path(scratch), options.digits)

        def rows() -> Iterator[Row]:
            yield from exactness(Path(scratch), dataset, options.device, gpus)
            yield digits(Path(scratch), dataset, options.device)
            yield from kernels(device)
            yield from engines(device, rounds=options.rounds, steps=options.steps)

        for row in rows():
            wrong += row.get("same_bits") is False
            line = json.dumps({**row, **where})
            print(line, flush=True)
            sink.write(line + "\n")
    if wrong:
        raise SystemExit(f"{wrong} rows have other bits than promised")


if __name__ == "__main__":
    main()
