"""The memory of the whole road, from a CSV to a verdict, does not grow with the data.

    python benchmarks/memory.py [--megabytes 300 1000 3000] [--limit MB] [--characters 200] [--small]

A table of three numbers, an id and a text of 200 characters, over a store in a folder: a snapshot; records read in a
child, checked and sorted, divided, measured, judged; shards, prepared; a second delivery measured against the first;
one epoch of a small network by two ranks over mapped shards; test rows scored, kept, judged and held against what was
delivered; at last all that was delivered is scored by the exported program, as `ratchet score` does. Every process of
it lies in one memory group (cgroup). What is told of each step is the anonymous memory of all of them together; files
that are mapped are not among it. With `--limit` the group may not have more than so many MB, whatever it is: what is
above is killed. `--small` is for tests: longer texts, and less is held at once.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
NETWORK = {"hidden": [8], "width": 8}
SETTINGS = "".join(
    f"RATCHET_{name}=x\n" for name in ("S3_ACCESS_KEY", "S3_SECRET_KEY", "MLFLOW_TRACKING_URI", "PREFECT_API_URL")
)
AT_ONCE = 2_000, 4 << 20  # rows, and characters of them, that are made at once
EVERY_S = 0.02
GIVEN_BACK = {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_MMAP_THRESHOLD_": "65536"}
"""What is freed is given back at once, so that what is told is what is held."""


class MemoryGroup:
    """A cgroup of this process and all that it starts; where there are no such, the numbers of the process tree."""

    def __init__(self) -> None:
        self.folder, self._before = None, None
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        first = next((path for _, kinds, path in own if "memory" in kinds.split(",")), None)
        second = next((path for number, kinds, path in own if number == "0" and not kinds), "/")
        below = [Path(f"/sys/fs/cgroup/memory{first}"), Path("/sys/fs/cgroup/memory")] if first is not None else []
        for parent in (*below, Path(f"/sys/fs/cgroup{second}"), Path("/sys/fs/cgroup")):
            folder = parent / f"ratchet-{os.getpid()}"
            with suppress(OSError):
                folder.mkdir()
                if any((folder / name).exists() for name in ("memory.limit_in_bytes", "memory.max")):
                    (folder / "cgroup.procs").write_text(str(os.getpid()))
                    self.folder, self._before = folder, parent
                    return
                folder.rmdir()

    def limit(self, megabytes: float) -> None:
        """Raises ``OSError`` where there is no group."""
        if self.folder is None:
            raise OSError("no memory cgroup can be made here; --limit needs one (as root, or a delegated one)")
        first = self.folder / "memory.limit_in_bytes"
        (first if first.exists() else self.folder / "memory.max").write_text(str(int(megabytes * (1 << 20))))
        with suppress(OSError):
            (self.folder / "memory.swap.max").write_text("0")

    def anonymous_mb(self) -> float:
        """Of all processes now."""
        if self.folder is None:
            return sum(_anonymous_kb(number) for number in _tree(os.getpid())) / 1024
        told = dict(line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(told.get("total_rss") or told["anon"]) / (1 << 20)

    def leave(self) -> None:
        """The group is gone once its other processes are."""
        if self.folder is None:
            return
        (self._before / "cgroup.procs").write_text(str(os.getpid()))
        with suppress(OSError):
            self.folder.rmdir()


def _tree(number: int) -> Iterator[int]:
    yield number
    for task in Path(f"/proc/{number}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from _tree(int(child))


def _anonymous_kb(number: int) -> int:
    with suppress(OSError):
        lines = Path(f"/proc/{number}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)
    return 0


class Watch:
    """The most anonymous memory in each step."""

    def __init__(self, group: MemoryGroup) -> None:
        self.group, self.peaks, self.seconds = group, dict[str, float](), dict[str, float]()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Whatever is done in it."""
        over, begun = threading.Event(), time.perf_counter()
        peaks = [self.group.anonymous_mb()]

        def look() -> None:
            while not over.wait(EVERY_S):
                peaks[0] = max(peaks[0], self.group.anonymous_mb())

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()
        self.peaks[name] = round(max(*peaks, self.group.anonymous_mb()), 1)
        self.seconds[name] = round(time.perf_counter() - begun, 1)
        print(f"{name}: {self.peaks[name]} MB, {self.seconds[name]} s", file=sys.stderr, flush=True)  # if it is killed


def parts(first: int, rows: int, characters: int) -> Iterator[bytes]:
    """A CSV file, the same every time."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    most = max(1, min(AT_ONCE[0], AT_ONCE[1] // characters))
    for at in range(first, first + rows, most):
        rng, count = np.random.default_rng(at), min(most, first + rows - at)
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


def made_elsewhere(first: int, rows: int, characters: int) -> Iterator[bytes]:
    """The same, by another process: who delivers is none of the road's, and leaves nothing in its memory."""
    command = [sys.executable, __file__, "--make", *map(str, (first, rows, characters))]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as maker:
        assert maker.stdout is not None
        yield from iter(lambda: maker.stdout.read(1 << 20), b"")
    assert maker.returncode == 0


def road(folder: Path, megabytes: int, watch: Watch, characters: int = NOTE) -> dict[str, Any]:
    """What it took."""
    from mlratchet.infra.child.keep_out import keep_users_code_out
    from mlratchet.infra.keys.files import MemoryKeys
    from mlratchet.infra.storage.folder import FolderStore
    from mlratchet.infra.storage.shard_cache import ShardCache, shards_folder
    from mlratchet.models.data.row_index import load_index, redelivered
    from mlratchet.models.data.shards import load_split
    from mlratchet.models.evaluation.score import score
    from mlratchet.models.identity.signed_records import RecordStore
    from mlratchet.models.metrics.rows import save_rows

    home = folder / "home"
    home.mkdir(parents=True)
    (home / "stack.env").write_text(SETTINGS)
    keep_users_code_out(home)
    rows = (megabytes << 20) // (characters + BESIDE)
    raw, objects = FolderStore(folder / "raw"), FolderStore(folder / "store")
    objects.files = ShardCache(shards_folder(home), objects, smallest_bytes=0)  # type: ignore[attr-defined]  # as a run's has
    store, spec = RecordStore(objects, MemoryKeys()), pipeline()
    raw.put_stream("t/rows.csv", made_elsewhere(0, rows, characters))
    made = delivered(folder, raw, store, watch, None, "")
    raw.put_stream("t/more.csv", made_elsewhere(rows, max(1, rows // 50), characters))
    delivered(folder, raw, store, watch, made, ", again")
    with watch.step("training"):
        model, result = by_two_ranks(home, store, made)
    with watch.step("scoring"):
        outputs = score(model, load_split(store, made, "test"))
        save_rows(store, outputs)
    with watch.step("judging"):
        judged(spec, "candidate", dataset_id=made.id, candidate=outputs)
    with watch.step("comparison"):
        ours, theirs = (load_index(store, made, ("no", "yes")).entries for _ in range(2))
        assert not redelivered(outputs.ids, ours, theirs).changed
    assert len(outputs.ids) == made.rows["test"]
    with watch.step("export"):
        signature = exported(folder / "artifact", store, made, model, result)
    with watch.step("batch scoring"):
        told = batch_scored(folder, raw, store, made, signature)
    assert told.scored == rows + max(1, rows // 50)
    size = (raw.head("t/rows.csv").size_bytes + raw.head("t/more.csv").size_bytes) >> 20
    return {
        "rows": rows,
        "megabytes": size,
        "characters": characters,
        "peaks_mb": watch.peaks,
        "seconds": watch.seconds,
    }


def pipeline() -> Any:
    """As its file says it."""
    from mlratchet.models.pipeline.loading import parse_pipeline

    return parse_pipeline(json.dumps({
        "name": "sized", "source": {"prefix": "t/", "format": "csv"}, "schema": SCHEMA, "preparation": PREPARATION,
        "workload": {"use": "mlratchet.models.workloads.fields:SchemaWorkload", "parameters": NETWORK},
        "train": {"epochs": 1, "global_batch_size": 1024, "processes": 2, "mode": "fast"},
        "gates": {
            "data": [{"kind": "data", "measure": "rows", "minimum": 1}],
            "candidate": [{"kind": "absolute", "metric": "accuracy", "minimum": 0.3}],
            "staging": [{"kind": "parity", "maximum_difference": 0.1}],
            "champion": [{"kind": "absolute", "metric": "accuracy", "minimum": 0.3}],
        },
    }), where="benchmark")  # fmt: skip


def delivered(folder: Path, raw: Any, store: Any, watch: Watch, previous: Any, step: str) -> Any:
    """A delivery becomes a dataset; beside an earlier one it is measured alone."""
    from mlratchet.models.data.kept_pieces import KeptPieces, reading_identity
    from mlratchet.models.data.preprocess import read_dataset_records, write_dataset
    from mlratchet.models.data.quality import inspect
    from mlratchet.models.data.reading import reading_of
    from mlratchet.models.data.snapshot import take_snapshot
    from mlratchet.models.data.split import divided
    from mlratchet.models.workloads.loading import load_workload

    spec = pipeline()
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))  # as a child tells of it
    with watch.step(f"snapshot{step}"):
        snapshot = take_snapshot(raw, store, prefix="t/")
    with watch.step(f"read, check, sort{step}"):
        kept = KeptPieces(store, reading_identity("benchmark", spec.workload, spec.source, {}), snapshot.id)
        records, rejects = read_dataset_records(store, snapshot, workload, spec.source, scratch=folder, kept=kept)
    with watch.step(f"measure{step}"):
        records, aside, sides = divided(records, spec.data.split)
        rejects.extend(aside)
        reading_of(records, rejects)
        found = inspect(store, records, rejects, previous, spec.data, workload.class_names(), sides=sides)
        judged(spec, "data", data_measures=found.measures)
    if previous is not None:
        return None
    with watch.step("split, shards, preparation"):
        return write_dataset(
            store, snapshot, records, "benchmark", spec.workload, spec.data, spec.source, sides=sides, prepared=True,
            class_names=workload.class_names(), tensors=workload.input_spec().tensors,
        )  # fmt: skip


def judged(spec: Any, gate: str, **evidence: Any) -> None:
    """It passes."""
    from mlratchet.models.gates.evidence import Evidence
    from mlratchet.models.gates.judge import judge_gate

    told = judge_gate(
        spec.gates, gate, Evidence(**evidence), first_model=True, task="classification", class_names=("no", "yes"),
        now_s=time.time(),
    )  # fmt: skip
    assert told.verdict == "pass", told


def by_two_ranks(home: Path, store: Any, made: Any) -> tuple[Any, Any]:
    """The network as they trained it, asked in a child, and what came of the training."""
    from mlratchet.infra.launch import local
    from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
    from mlratchet.models.evaluation.away import ModelAway
    from mlratchet.models.training.job import TrainJob
    from mlratchet.tasks.steps.evaluate import TRAINED, WEIGHTS

    spec = pipeline()
    workload = with_fitted(spec.workload, fitted_to(store, made))
    local.signing_store = lambda _settings: store
    result = local.LocalLauncher(home).train(
        TrainJob(
            work_key="f" * 64, epoch=1, dataset_id=made.id, train=spec.train, processes=2, workload=workload,
            scratch=str(home / "scratch" / "t"),
        ),
        on_event=lambda _: None,
    )  # fmt: skip
    assert result.processes == 2
    weights = store.get(result.weights_key, sha256=result.weights_sha256)
    arguments = {**workload.model_dump(mode="json"), "weights": WEIGHTS}
    return ModelAway(load=TRAINED, arguments=arguments, objects={WEIGHTS: weights}), result


def exported(directory: Path, store: Any, made: Any, model: Any, result: Any) -> Any:
    """The artifact as a version has it; its signature."""
    from mlratchet.infra.artifact.package import complete, export
    from mlratchet.models.data.prepared_shards import fitted_to, instances_of_side, with_fitted
    from mlratchet.models.data.shards import load_split
    from mlratchet.models.serving.config import ServingConfig
    from mlratchet.models.serving.contract import served_signature
    from mlratchet.models.workloads.loading import load_workload

    fitted = with_fitted(pipeline().workload, fitted_to(store, made))
    signature = served_signature(load_workload(fitted.use, dict(fitted.parameters)), ServingConfig())
    sample = load_split(store, made, "test").x.rows(slice(4))
    export(model, sample, directory)
    weights = directory.with_suffix(".safetensors")
    weights.write_bytes(store.get(result.weights_key, sha256=result.weights_sha256))
    instances = instances_of_side(store, made, "test", 2)
    complete(directory, signature, sample.rows(slice(2)), card="card", weights_file=weights, instances=instances)
    return signature


def batch_scored(folder: Path, raw: Any, store: Any, made: Any, signature: Any) -> Any:
    """Every row that was delivered, by the exported program, to a bucket of its own."""
    from types import SimpleNamespace

    from mlratchet.infra.storage.folder import FolderStore
    from mlratchet.models.scoring.input import listed
    from mlratchet.models.scoring.job import RowFormat, ScoringJob
    from mlratchet.models.scoring.places import place_of_uri
    from mlratchet.tasks.actions.score import Scoring, tell_nobody

    source, target = place_of_uri("s3://raw/t", "input"), place_of_uri("s3://out/scores", "output")
    options = pipeline().source.model_dump(mode="json", exclude_none=True)
    reading = RowFormat(
        format="csv", options=options, number_marks=dict(made.number_marks), time_formats=dict(made.time_formats)
    )
    job = ScoringJob(
        pipeline="sized", version=1, manifest="f" * 64, source=str(source), target=str(target),
        objects=listed(raw, source), reading=reading,
    )  # fmt: skip
    buckets = {"raw": raw, "out": FolderStore(folder / "out")}
    adapters: Any = SimpleNamespace(store=store, bucket=buckets.__getitem__)
    return Scoring(adapters, job, signature, folder / "artifact", source, target, tell_nobody).run()


def child(args: argparse.Namespace) -> None:
    """Runs the road, after a smaller one that imports whatever is needed."""
    group = MemoryGroup()
    try:
        from mlratchet.models.data import record_shards, records

        if args.limit is not None:
            group.limit(args.limit)
        if args.small:
            records.HELD_BYTES = record_shards.SHARD_BYTES = 4 << 20
            record_shards.WRITTEN_BYTES = 8 << 20
        characters = args.characters or (8 * NOTE if args.small else NOTE)
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            first = road(Path(place, "first"), args.first, Watch(group), characters) if args.first else {}
            found = road(Path(place, "road"), args.megabytes[0], Watch(group), characters)
        about = {"limit_mb": args.limit, **{f"first_{name}": first.get(name) for name in ("megabytes", "peaks_mb")}}
        print(json.dumps({**found, **about}))
    finally:
        group.leave()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="*", default=[300, 1000, 3000])
    parser.add_argument("--first", type=int, default=1, help="MB of the smaller delivery before; 0: none")
    parser.add_argument("--limit", type=float, help="MB of all processes together")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--characters", type=int, help=f"of the text of a row; {NOTE}, and {8 * NOTE} with --small")
    parser.add_argument("--child", action="store_true")
    parser.add_argument("--folder")
    parser.add_argument("--make", type=int, nargs=3, help="write these rows and end: the first, how many, characters")
    args = parser.parse_args()
    if args.make:
        for part in parts(*args.make):
            sys.stdout.buffer.write(part)
        return
    if args.child:
        child(args)
        return
    import torch

    about = {
        "date": dt.datetime.now(dt.UTC).date().isoformat(), "torch": torch.__version__, "cores": os.cpu_count(),
        "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    for size in args.megabytes:
        given = [one for one in sys.argv[1:] if one != "--megabytes" and one not in map(str, args.megabytes)]
        command = [sys.executable, __file__, *given, "--child", "--megabytes", str(size)]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **GIVEN_BACK})
        row = {"claim": "memory", **json.loads(told.stdout.splitlines()[-1]), **about}
        with (RESULTS / "memory.jsonl").open("a") as sink:
            sink.write(json.dumps(row) + "\n")
        print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
