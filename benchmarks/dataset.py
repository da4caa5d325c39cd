"""A CSV becomes a dataset, and a folder of objects a snapshot.

    python benchmarks/dataset.py [--rows 25000000] [--objects 100000] [--polars VENV/bin/python]

Ten numbers and a label per row (25 million rows are 2 GB), over a store in a folder. Ours: snapshot, records read,
checked and sorted by id, split and written as shards of examples. The limit is what Polars, in a process and an
environment of its own, takes to read the same file and check it by the same rules. Of the snapshot the limits are one
listing and the GETs of the same objects by as many threads, and one listing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import COPIERS, take_snapshot
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.workloads.fields import SchemaWorkload
from pyarrow import csv

RESULTS = Path(__file__).parent / "results"
COLUMNS = [f"c{number}" for number in range(10)]
LOW, HIGH = -10.0, 10.0
SCHEMA = {
    "label": "y",
    "fields": {
        **{name: {"kind": "number", "minimum": LOW, "maximum": HIGH} for name in COLUMNS},
        "y": {"kind": "category", "values": ["no", "yes"]},
    },
}
AT_ONCE = 100_000  # rows that are made at once
OBJECT_BYTES = 2_000
THEIRS = f"""
import json, sys, time
import polars as pl
wall, cpu = time.perf_counter(), time.process_time()
table = pl.read_csv(sys.argv[1])
numbers = pl.all().exclude("y")
told = table.select(
    (numbers.is_finite() & numbers.is_between({LOW}, {HIGH})).all().name.suffix(" fits"),
    pl.all().null_count().name.suffix(" gaps"),
    pl.col("y").is_in(["no", "yes"]).all().alias("known"),
).row(0)
with open("/proc/self/status") as said:  # `ru_maxrss` begins with that of who forked it
    peak = next(int(line.split()[1]) for line in said if line.startswith("VmHWM")) >> 10
took = dict(wall_s=time.perf_counter() - wall, cpu_s=time.process_time() - cpu)
print(json.dumps(dict(**took, peak_mb=peak, rows=len(table))))
"""


def parts(rows: int) -> Iterator[bytes]:
    """The file, the same every time."""
    rng = np.random.default_rng(0)
    for at in range(0, rows, AT_ONCE):
        x = np.round(rng.normal(size=(min(AT_ONCE, rows - at), len(COLUMNS))), 4)
        columns = {name: x[:, place] for place, name in enumerate(COLUMNS)}
        table = pa.table({**columns, "y": pa.array(np.where(x[:, 0] > 0, "yes", "no"))})
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, csv.WriteOptions(include_header=at == 0, quoting_style="none"))
        yield sink.getvalue().to_pybytes()


def timed(work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds, and CPU seconds of this process; and what it gave."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}, found


def table(folder: Path, rows: int, polars: str | None) -> dict[str, Any]:
    """One file."""
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    raw.put_stream("t/rows.csv", parts(rows))
    workload, source = SchemaWorkload(schema=SCHEMA), CsvOptions(prefix="t/", format="csv", label_column="y")
    reference = WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload")
    steps: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    steps["snapshot"], snapshot = timed(lambda: take_snapshot(raw, store, prefix="t/"))
    steps["read, check, sort"], (records, _) = timed(
        lambda: read_dataset_records(store, snapshot, workload, source, scratch=folder)
    )
    steps["split and shards"], made = timed(
        lambda: write_dataset(
            store, snapshot, records, "benchmark", reference, DataConfig(), source,
            class_names=workload.class_names(), tensors=workload.tensors(),
        )
    )  # fmt: skip
    assert sum(made.rows.values()) == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    row = {"rows": rows, "megabytes": raw.head("t/rows.csv").size_bytes >> 20, "steps": steps,
           "peak_mb": peak, "imports_mb": before}  # fmt: skip
    if polars is not None:
        (file,) = (folder / "raw").iterdir()
        told = subprocess.run([polars, "-c", THEIRS, str(file)], capture_output=True, text=True, check=True)
        row["polars"] = json.loads(told.stdout)
        assert row["polars"]["rows"] == rows
    return row


def objects(folder: Path, count: int) -> dict[str, Any]:
    """Many small ones."""
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    for number in range(count):
        raw.put(f"t/{number:07d}.bin", np.random.default_rng(number).bytes(OBJECT_BYTES))

    def fetched() -> None:
        with ThreadPoolExecutor(COPIERS) as pool:
            for _ in pool.map(lambda info: raw.get(info.key), list(raw.list("t/"))):
                pass

    sides = {
        "one listing": lambda: list(raw.list("t/")),
        "one listing and the GETs": fetched,
        "snapshot, cold": lambda: take_snapshot(raw, store, prefix="t/"),
        "snapshot, unchanged": lambda: take_snapshot(raw, store, prefix="t/"),
    }
    found = {name: timed(work)[0] for name, work in sides.items()}
    raw.put("t/new.bin", b"new")
    found["snapshot, one object new"] = timed(lambda: take_snapshot(raw, store, prefix="t/"))[0]
    return {"objects": count, "sides": found}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=25_000_000)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--polars", help="a Python that has it")
    args = parser.parse_args()
    measured = []
    with tempfile.TemporaryDirectory() as folder:
        if args.rows:
            measured.append({"claim": "dataset", **table(Path(folder, "table"), args.rows, args.polars)})
        if args.objects:
            measured.append({"claim": "snapshot", **objects(Path(folder, "objects"), args.objects)})
    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__, "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    with (RESULTS / "dataset.jsonl").open("a") as sink:
        for row in measured:
            sink.write(json.dumps({**row, **about}) + "\n")
            print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
