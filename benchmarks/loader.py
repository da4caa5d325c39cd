"""From S3 to batches: small records and pictures, cold, warm and resumed at half, beside other loaders.

    RATCHET_HOME=... python benchmarks/loader.py [--megabytes 96] [--rounds 3] [--peers VENV] [--kinds records]

Every side is a process of its own that takes all batches of 256 rows of an epoch in random order, on one server;
the sides run interleaved, and medians are told. The limit is parallel ranged GETs of our shards. `--peers`:
a virtual environment with webdataset, ray[data], s3torchconnector and litdata, of which those that are there take part
(`loader_peers.py` says how each is asked). The data is written to a bucket of its own, which is left empty.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.settings import child_environment, load_settings
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.sources.record import Split
from mlratchet.models.training.batches import Plan, StepRows, batches
from mlratchet.models.training.windows import AHEAD, hold_for_training
from mlratchet.models.workloads.tabular import TableClassifier

RESULTS, PEERS = Path(__file__).parent / "results", Path(__file__).parent / "loader_peers.py"
BUCKET, BATCH, SHARD_BYTES, PIECE = "ratchet-loader-benchmark", 256, 8_000_000, 8 << 20
ERROR = re.compile(r"[\w.]+(Error|Exception)\b")
KINDS: dict[str, tuple[tuple[int, ...], Any]] = {"records": ((64,), np.float32), "pictures": ((3, 64, 64), np.uint8)}
OURS = ("limit", "limit, streams", "ratchet cold", "ratchet warm", "ratchet resumed at half")
THEIRS = ("webdataset", "ray", "s3torchconnector", "litdata cold", "litdata warm")


def bucket() -> S3Store:
    store = open_bucket(load_settings(), BUCKET)
    store.ensure_bucket()
    return store


def rows_of(kind: str, megabytes: int) -> Split:
    """Random, the same every time."""
    shape, dtype = KINDS[kind]
    count = megabytes * 1_000_000 // (int(np.prod(shape)) * np.dtype(dtype).itemsize)
    rng = np.random.default_rng(0)
    x = (
        rng.integers(0, 255, (count, *shape), dtype=np.uint8)
        if dtype is np.uint8
        else rng.random((count, *shape), dtype)
    )
    y = rng.integers(0, 10, count)
    return Split(ids=[f"{at:010d}" for at in range(count)], x=x, y=y)  # type: ignore[arg-type]  # one input


def write(kind: str, megabytes: int) -> DatasetManifest:
    rows = rows_of(kind, megabytes)
    per_shard = max(1, SHARD_BYTES * len(rows.ids) // (megabytes * 1_000_000))
    refs = write_split(bucket(), rows, rows_per_shard=per_shard)
    return DatasetManifest(
        id="d" * 64, snapshot_id="s", splits={"train": refs}, rows={}, target_counts={}, index_sha256=""
    )


def limit(manifest: DatasetManifest, *, streams: bool) -> dict[str, float]:
    """Ranged GETs side by side, and nothing done with what comes: by boto3, or `streams` of ours, which copy less."""
    store = bucket()
    asked = [
        (info.key, at)
        for info in (store.head(ref.key) for ref in manifest.splits["train"])
        for at in range(0, info.size_bytes, PIECE)
    ]

    def streamed(one: tuple[str, int]) -> int:
        with store.stream(*one, PIECE) as arriving:
            return sum(map(len, arriving))

    clock = Clock()
    with ThreadPoolExecutor(8) as pool:
        taken = pool.map(streamed if streams else lambda one: len(store.get_range(*one, PIECE)), asked)
        assert sum(taken) == sum(store.head(key).size_bytes for key, at in asked if not at)
    return clock.told(sum(ref.rows for ref in manifest.splits["train"]))


def ratchet(manifest: DatasetManifest, copies: Path, *, half: bool) -> dict[str, float]:
    """As a rank takes them."""
    store = bucket()
    clock = Clock()
    store.files = ShardCache(copies, store, smallest_bytes=0)
    rows = load_split(store, manifest, "train", ahead=AHEAD)
    pieces = rows.x.pieces  # type: ignore[attr-defined]  # it is mapped
    hold_for_training(pieces, None, room_bytes=store.files.bound_bytes)
    plan = Plan(rows=len(rows.ids), batch=BATCH, smallest=1, seed=0, shards=1, first=0, count=1)
    dataset = StepRows(rows, plan, TableClassifier(columns=["a"], classes=["0", "1"]))
    steps = plan.order().per_epoch
    samples, first_s = 0, 0.0
    for _, ((x, _y, _weights),) in batches(dataset, steps // 2 if half else 0, steps, workers=0, pin=False):
        first_s = first_s or clock.seconds
        samples += len(x)
    return clock.told(samples) | {"first_s": first_s}


class Clock:
    """Of a side: what a program has long before it asks for a batch (imports, a client) is not counted."""

    def __init__(self) -> None:
        self._began, self._cpu_s = time.perf_counter(), cpu_s()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._began

    def told(self, samples: int) -> dict[str, float]:
        """What became of it."""
        return {"samples": samples, "seconds": self.seconds, "cpu_s": cpu_s() - self._cpu_s}


def cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def one_side(side: str, folder: Path) -> None:
    """In a process of its own."""
    torch.set_num_threads(1)
    manifest = DatasetManifest.model_validate_json((folder / "manifest.json").read_text())
    told = (
        limit(manifest, streams="streams" in side)
        if side.startswith("limit")
        else ratchet(manifest, folder / ("cold" if "cold" in side else "warm"), half="half" in side)
    )
    print(json.dumps(told))


def run_side(side: str, folder: Path, python: str, environment: dict[str, str]) -> dict[str, float] | str:
    """What a side told, or why it did not."""
    script = PEERS if side in THEIRS else Path(__file__)
    if side.endswith("cold"):
        subprocess.run(["rm", "-rf", str(folder / side.split()[0]), str(folder / "cold")], check=True)
    asked = [python if side in THEIRS else sys.executable, str(script), "--side", side, "--folder", str(folder)]
    done = subprocess.run(asked, capture_output=True, text=True, env=environment, timeout=300)
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines() or ["no output"]
        return next((line for line in reversed(said) if ERROR.match(line)), said[-1])[:200]
    found: dict[str, float] = json.loads(lines[-1])
    return found


def measured(kind: str, megabytes: int, rounds: int, peers: str | None) -> dict[str, Any]:
    shape, dtype = KINDS[kind]
    row_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    told: dict[str, list[dict[str, float]]] = {}
    missing: dict[str, str] = {}
    environment = dict(os.environ) | child_environment(load_settings())
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "manifest.json").write_text(write(kind, megabytes).model_dump_json())
        about = {"bucket": BUCKET, "batch": BATCH, "kind": kind, "shape": shape, "dtype": np.dtype(dtype).name}
        (folder / "about.json").write_text(json.dumps(about))
        sides = OURS + (THEIRS if peers else ())
        if peers:
            asked = [f"{peers}/bin/python", str(PEERS), "--side", "prepare", "--folder", str(folder)]
            subprocess.run(asked, env=environment, timeout=600, check=False)
        run_side("ratchet warm", folder, "", environment)  # fills the copies
        for _ in range(rounds):
            for side in sides:
                found = run_side(side, folder, f"{peers}/bin/python", environment) if side not in missing else ""
                if isinstance(found, str):
                    missing.setdefault(side, found)
                else:
                    told.setdefault(side, []).append(found)
    return {"missing": missing, "sides": {side: summed(found, row_bytes) for side, found in told.items()}}


def summed(found: list[dict[str, float]], row_bytes: int) -> dict[str, float]:
    """Medians."""

    def middle(name: str) -> float:
        return statistics.median(one.get(name, 0.0) for one in found)

    samples, seconds = middle("samples"), middle("seconds")
    return {
        "samples": samples,
        "samples_per_s": round(samples / seconds),
        "mb_per_s": round(samples * row_bytes / seconds / 1e6, 1),
        "cpu_s_per_gb": round(middle("cpu_s") / (samples * row_bytes / 1e9), 2),
        "first_s": round(middle("first_s"), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.side:
        one_side(options.side, options.folder)
        return
    for kind in options.kinds:
        found = measured(kind, options.megabytes, options.rounds, options.peers)
        bare = found["sides"]["limit"]["samples_per_s"]
        row = {
            "claim": "loader", "kind": kind, "megabytes": options.megabytes, "rounds": options.rounds, **found,
            "ratios": {side: round(one["samples_per_s"] / bare, 3) for side, one in found["sides"].items()},
            "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__,
            "cores": os.cpu_count(), "load": os.getloadavg()[0], "machine": platform.machine(),
        }  # fmt: skip
        print(json.dumps(row, indent=1))
        with (RESULTS / "loader.jsonl").open("a") as sink:
            sink.write(json.dumps(row) + "\n")
    store = bucket()
    for info in list(store.list()):
        store.delete(info.key)


if __name__ == "__main__":
    main()
