"""The memory of the whole road, from a CSV to scored rows, does not grow with the data.

    python benchmarks/memory.py [--megabytes 300 1000 3000] [--limit] [--small]

A table of three numbers, an id and a text of 200 characters, over a store in a folder, in a process a size: a snapshot,
records read, checked and sorted, divided, measured, split into shards, prepared; a second delivery measured against the
first; one epoch of a small network over mapped shards, test rows scored, kept and held against what was delivered.
What is told of each step is anonymous memory above what the process took before the first one; files that are mapped
are not among it. `--small` is for tests: longer texts, and less is held at once. With `--limit` the process may have a
quarter of the data above its imports (RLIMIT_DATA).
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
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
COLUMNS = ["c0", "c1", "c2"]
SCHEMA = {
    "label": "y",
    "id": "id",
    "fields": {
        **{name: {"kind": "number", "decimal": "."} for name in COLUMNS},
        "note": {"kind": "text"},
        "y": {"kind": "category", "values": ["no", "yes"]},
    },
}
PREPARATION = {"fields": {"note": {"tokens": "words", "max_length": 16, "vocabulary": 300, "sample_mb": 1}}}
NOTE = 200  # characters
BESIDE = 40  # of a row
AT_ONCE = 20_000  # rows that are made at once
EVERY_S = 0.005
GIVEN_BACK = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""What is freed is given back at once, so that what is told is what is held."""


def anonymous_mb() -> float:
    """Of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


class Watch:
    """The most anonymous memory in each step, above what there was before the first."""

    def __init__(self) -> None:
        self.begin, self.peaks, self.seconds = anonymous_mb(), dict[str, float](), dict[str, float]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Whatever is done in it."""
        over, begun = threading.Event(), time.perf_counter()
        peaks = [anonymous_mb()]

        def look() -> None:
            while not over.wait(EVERY_S):
                peaks.append(anonymous_mb())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()
        self.peaks[name] = round(max(*peaks, anonymous_mb()) - self.begin, 1)
        self.seconds[name] = round(time.perf_counter() - begun, 1)


def parts(first: int, rows: int, characters: int) -> Iterator[bytes]:
    """A CSV file, the same every time."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    for at in range(first, first + rows, AT_ONCE):
        rng, count = np.random.default_rng(at), min(AT_ONCE, first + rows - at)
        x = np.round(rng.normal(size=(count, len(COLUMNS))), 5)
        words = rng.integers(97, 123, (count, characters), dtype=np.uint8)
        words[:, 5::6] = 32
        text = words.tobytes().decode()
        columns = {name: x[:, place] for place, name in enumerate(COLUMNS)}
        notes = [text[place * characters : (place + 1) * characters - 1] for place in range(count)]
        told = {"id": [f"r{number:09d}" for number in range(at, at + count)], **columns, "note": notes}
        table = pa.table({**told, "y": pa.array(np.where(x[:, 0] > 0, "yes", "no"))})
        sink = pa.BufferOutputStream()
        csv.write_csv(table, sink, csv.WriteOptions(include_header=at == first, quoting_style="none"))
        yield sink.getvalue().to_pybytes()


def road(folder: Path, megabytes: int, watch: Watch | None = None, characters: int = NOTE) -> dict[str, Any]:
    """What it took."""
    import numpy as np
    import torch
    from mlratchet.infra.storage.folder import FolderStore
    from mlratchet.infra.storage.shard_cache import ShardCache
    from mlratchet.models.config import WorkloadRef
    from mlratchet.models.data.config import DataConfig
    from mlratchet.models.data.prepared_shards import fitted_to
    from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
    from mlratchet.models.data.quality import inspect
    from mlratchet.models.data.reading import reading_of
    from mlratchet.models.data.row_index import load_index, redelivered
    from mlratchet.models.data.shards import load_split
    from mlratchet.models.data.snapshot import take_snapshot
    from mlratchet.models.data.split import divided
    from mlratchet.models.evaluation.score import score
    from mlratchet.models.metrics.rows import save_rows
    from mlratchet.models.sources.csv import CsvOptions
    from mlratchet.models.tensors.batch import asked_by_name
    from mlratchet.models.training.batches import Plan, StepRows, batches
    from mlratchet.models.workloads.fields import SchemaWorkload

    torch.set_num_threads(1)
    rows = (megabytes << 20) // (characters + BESIDE)
    raw, store = FolderStore(folder / "raw"), FolderStore(folder / "store")
    store.files = ShardCache(folder / "copies", store, smallest_bytes=0)  # type: ignore[attr-defined]  # as a run's has
    raw.put_stream("t/rows.csv", parts(0, rows, characters))
    parameters: dict[str, Any] = {"schema": SCHEMA, "preparation": PREPARATION, "hidden": [8], "width": 8}
    reference = WorkloadRef(use="mlratchet.models.workloads.fields:SchemaWorkload", parameters=parameters)
    workload, source, config = SchemaWorkload(**parameters), CsvOptions(prefix="t/", format="csv"), DataConfig()
    source = CsvOptions(prefix="t/", format="csv", label_column="y", id_column="id")
    names = workload.class_names()
    watch = watch or Watch()

    def delivered(previous: Any, step: str) -> Any:
        snapshot = take_snapshot(raw, store, prefix="t/")
        with watch.step(f"read, check, sort{step}"):
            records, rejects = read_dataset_records(store, snapshot, workload, source, scratch=folder)
        with watch.step(f"measure{step}"):
            records, aside, sides = divided(records, config.split)
            rejects.extend(aside)
            reading_of(records, rejects)
            inspect(store, records, rejects, previous, config, names, sides=sides)
        if previous is not None:
            return None
        with watch.step("split, shards, preparation"):
            return write_dataset(
                store, snapshot, records, "benchmark", reference, config, source, class_names=names,
                tensors=workload.tensors(), prepared=True, sides=sides,
            )  # fmt: skip

    made = delivered(None, "")
    raw.put_stream("t/more.csv", parts(rows, max(1, rows // 50), characters))
    delivered(made, ", again")
    trained = SchemaWorkload(**parameters, fitted=fitted_to(store, made))
    with watch.step("training"):
        split, model = load_split(store, made, "train"), trained.prepared_model()
        asked = asked_by_name(model, trained.tensors())
        plan = Plan(rows=len(split.ids), batch=256, smallest=1, seed=0, shards=1, first=0, count=1)
        given = StepRows(split, plan, trained)
        for _, ((x, y),) in batches(given, 0, plan.order().per_epoch, workers=0, pin=False):
            torch.nn.functional.cross_entropy(asked(x), y).backward()
    with watch.step("scoring"):
        model.eval()
        outputs = score(asked, load_split(store, made, "test"))
        save_rows(store, outputs)
    with watch.step("comparison"):
        ours, theirs = load_index(store, made, names).entries, load_index(store, made, names).entries
        assert not redelivered(outputs.ids, ours, theirs).changed
    assert len(outputs.ids) == made.rows["test"]
    assert np.isfinite(outputs.output).all()
    size = (raw.head("t/rows.csv").size_bytes + raw.head("t/more.csv").size_bytes) >> 20
    return {"rows": rows, "megabytes": size, "begin_mb": round(watch.begin), "peaks_mb": watch.peaks,
            "seconds": watch.seconds}  # fmt: skip


def child(megabytes: int, *, limit: bool, small: bool, folder: str | None) -> None:
    """Runs the road, after a small one that imports whatever is needed."""
    from mlratchet.models.data import record_shards, records

    if small:
        records.HELD_BYTES = record_shards.SHARD_BYTES = 4 << 20
        record_shards.WRITTEN_BYTES = 8 << 20
    characters = 8 * NOTE if small else NOTE
    with tempfile.TemporaryDirectory(dir=folder) as place:
        road(Path(place, "first"), 1, characters=characters)
        watch = Watch()
        if limit:
            held = int((watch.begin + 64) * (1 << 20))  # the heap of Python and of torch as they are now, and stacks
            resource.setrlimit(resource.RLIMIT_DATA, (held + (megabytes << 18), resource.RLIM_INFINITY))
        print(json.dumps({**road(Path(place, "road"), megabytes, watch, characters), "limited": limit}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="*", default=[300, 1000, 3000])
    parser.add_argument("--limit", action="store_true")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--folder")
    args = parser.parse_args()
    if args.child:
        child(args.megabytes[0], limit=args.limit, small=args.small, folder=args.folder)
        return
    import torch

    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__, "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    for size in args.megabytes:
        command = [sys.executable, __file__, "--child", "--megabytes", str(size)]
        command += (
            ["--limit"] * args.limit + ["--small"] * args.small + (["--folder", args.folder] if args.folder else [])
        )
        told = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **GIVEN_BACK})
        row = {"claim": "memory", **json.loads(told.stdout.splitlines()[-1]), **about}
        with (RESULTS / "memory.jsonl").open("a") as sink:
            sink.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
