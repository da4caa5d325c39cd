"""A CSV becomes a dataset, and a folder of objects a snapshot.

    python benchmarks/dataset.py [--rows 2000000] [--objects 10000] [--formats csv parquet jsonl] [--polars PYTHON]

Ten numbers and a label per row (25 million rows are 2 GB of CSV; of JSONL a tenth of the rows), over a store in a
folder. Ours: snapshot, records read, checked and sorted by id, split and written as shards of examples. The limit is
what Polars (`--polars`: a Python that has it), in a process of its own, takes to read the same file and check it by the
same rules. Of the snapshot the limits are one listing and the GETs of the same objects by as many threads, and one
listing. The goals are for 25,000,000 rows and 100,000 objects, which take half an hour; what is under way is told on
stderr, and every row is kept when it is measured.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import torch
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
from mlratchet.models.data.snapshot import COPIERS, take_snapshot
from mlratchet.models.sources.csv import CsvOptions
from mlratchet.models.sources.jsonl import JsonlOptions
from mlratchet.models.sources.parquet import ParquetOptions
from mlratchet.models.workloads.fields import SchemaWorkload
from pyarrow import csv
from pyarrow import parquet as pq

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
FORMATS: dict[str, tuple[Any, str, int]] = {  # options, how Polars reads it, and of how many rows one is written
    "csv": (CsvOptions, "read_csv", 1),
    "parquet": (ParquetOptions, "read_parquet", 1),
    "jsonl": (JsonlOptions, "read_ndjson", 10),
}
AT_ONCE = 100_000  # rows that are made at once
OBJECT_BYTES = 2_000
THEIRS = f"""
import json, sys, time
import polars as pl
wall, cpu = time.perf_counter(), time.process_time()
table = getattr(pl, sys.argv[2])(sys.argv[1])
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


def tables(rows: int) -> Iterator[pa.Table]:
    """The rows, the same every time."""
    rng = np.random.default_rng(0)
    for at in range(0, rows, AT_ONCE):
        x = np.round(rng.normal(size=(min(AT_ONCE, rows - at), len(COLUMNS))), 4)
        columns = {name: x[:, place] for place, name in enumerate(COLUMNS)}
        yield pa.table({**columns, "y": pa.array(np.where(x[:, 0] > 0, "yes", "no"))})


def write(form: str, rows: int, file: Path) -> None:
    """The rows as one file."""
    with ExitStack() as opened:
        sink = opened.enter_context(file.open("wb"))
        whole = opened.enter_context(pq.ParquetWriter(sink, next(tables(1)).schema)) if form == "parquet" else None
        for number, one in enumerate(tables(rows)):
            if whole is not None:
                whole.write_table(one)
            elif form == "csv":
                csv.write_csv(one, sink, csv.WriteOptions(include_header=number == 0, quoting_style="none"))
            else:
                sink.write("".join(json.dumps(row) + "\n" for row in one.to_pylist()).encode())


def timed(what: str, work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds, and CPU seconds of this process; and what it gave."""
    print(f"{what} ...", end=" ", file=sys.stderr, flush=True)
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    took = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    print(f"{took['wall_s']:.1f} s, {took['cpu_s']:.1f} of CPU", file=sys.stderr, flush=True)
    return took, found


def table(folder: Path, form: str, rows: int, polars: str | None) -> dict[str, Any]:
    """One file."""
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    options, theirs, _ = FORMATS[form]
    key = f"t/rows.{form}"
    file = folder / "raw" / quote(key, safe="")
    asked = [sys.executable, __file__, "--write", str(file), "--formats", form, "--rows", str(rows)]
    timed(f"{rows:,} rows as {form}", lambda: subprocess.run(asked, check=True))  # its memory is none of ours
    workload, source = SchemaWorkload(schema=SCHEMA), options(prefix="t/", format=form, label_column="y")
    reference = WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload")
    steps: dict[str, Any] = {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    steps["snapshot"], snapshot = timed("snapshot", lambda: take_snapshot(raw, store, prefix="t/"))
    steps["read, check, sort"], (records, _) = timed(
        "read, check, sort", lambda: read_dataset_records(store, snapshot, workload, source, scratch=folder)
    )
    steps["split and shards"], made = timed(
        "split and shards",
        lambda: write_dataset(
            store, snapshot, records, "benchmark", reference, DataConfig(), source,
            class_names=workload.class_names(), tensors=workload.tensors(),
        )
    )  # fmt: skip
    assert sum(made.rows.values()) == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    row = {"format": form, "rows": rows, "megabytes": file.stat().st_size >> 20, "steps": steps,
           "peak_mb": peak, "imports_mb": before}  # fmt: skip
    if polars is not None:
        asked = [polars, "-c", THEIRS, str(file), theirs]
        _, told = timed("Polars", lambda: subprocess.run(asked, capture_output=True, text=True, check=True))
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
    found = {name: timed(name, work)[0] for name, work in sides.items()}
    raw.put("t/new.bin", b"new")
    found["snapshot, one object new"] = timed("one object new", lambda: take_snapshot(raw, store, prefix="t/"))[0]
    return {"objects": count, "sides": found}


def keep(measured: dict[str, Any]) -> None:
    """At once: whoever ends this has what was measured until then."""
    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__, "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    with (RESULTS / "dataset.jsonl").open("a") as sink:
        sink.write(json.dumps({**measured, **about}) + "\n")
    print(json.dumps(measured, indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--formats", nargs="+", choices=list(FORMATS), default=list(FORMATS))
    parser.add_argument("--polars", help="a Python that has it")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    (first, *_) = args.formats
    if args.write:
        write(first, args.rows, args.write)
        return
    if args.alone:
        with tempfile.TemporaryDirectory() as folder:
            keep({"claim": "dataset", **table(Path(folder), first, args.rows, args.polars)})
        return
    for form in args.formats if args.rows else ():  # each in a process of its own, which says what memory it takes
        rows = args.rows // FORMATS[form][2]
        asked = [sys.executable, __file__, "--alone", "--formats", form, "--rows", str(rows)]
        subprocess.run([*asked, *(["--polars", args.polars] if args.polars else [])], check=True)
    if args.objects:
        with tempfile.TemporaryDirectory() as folder:
            keep({"claim": "snapshot", **objects(Path(folder), args.objects)})


if __name__ == "__main__":
    main()
