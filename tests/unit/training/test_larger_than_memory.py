"""Training and scoring over rows that fit neither the memory nor, with a window, the copies on the disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import write_split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import PreemptedError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training

TABLE = "mlratchet.models.workloads.tabular:TableClassifier"
PARAMETERS = {"columns": ["a", "b"], "classes": ["no", "yes"], "standardise": True}


def dataset_in(store: ObjectStore, count: int = 400) -> str:
    """Shards of 20 rows."""
    x = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(np.int64)
    rows = Split(ids=[f"r{at}" for at in range(count)], x=x, y=y)  # type: ignore[arg-type]  # one input
    few = Split(ids=rows.ids[:50], x=x[:50], y=y[:50])  # type: ignore[arg-type]
    splits = {"train": write_split(store, rows, rows_per_shard=20)}
    splits |= {side: write_split(store, few, rows_per_shard=20) for side in ("validation", "test")}
    made = DatasetManifest(
        id="d" * 64, snapshot_id="s", splits=splits, rows={}, target_counts={"no": 1, "yes": 1}, index_sha256="i"
    )
    store.create(f"datasets/{made.id}.json", canonical_json(made.model_dump(mode="json")))
    return made.id


def trained(store: ObjectStore, *, around: Surroundings | None = None, **train: Any) -> TrainResult:
    job = TrainJob(
        work_key="f" * 64, epoch=1, dataset_id="d" * 64, processes=1, scratch="",
        workload=WorkloadRef(use=TABLE, parameters=PARAMETERS),
        train=TrainConfig(epochs=2, global_batch_size=32, shards=2, **train),
    )  # fmt: skip
    result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=around or Surroundings())
    assert result is not None
    return result


def streamed(tmp_path: Path, bound: int) -> MemoryStore:
    store = MemoryStore("streamed")
    dataset_in(store)
    store.files = ShardCache(tmp_path / "shards", store, bound_bytes=bound, smallest_bytes=0)  # type: ignore[attr-defined]
    return store


def size_of(file: Path) -> int:
    """Nothing, of one that was removed meanwhile."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def shard_bytes(store: MemoryStore) -> int:
    return max(info.size_bytes for info in store.list("shards/"))


@pytest.mark.parametrize("window", [None, 3])
def test_the_same_weights_as_in_memory(window: int | None, tmp_path: Path, store: MemoryStore) -> None:
    dataset_in(store)
    mapped = trained(streamed(tmp_path, 1 << 20), shuffle_window=window)
    assert mapped.weights_sha256 == trained(store, shuffle_window=window).weights_sha256


def test_data_larger_than_the_copies_trains_with_a_window_and_goes_on_where_it_was(
    tmp_path: Path, store: MemoryStore
) -> None:
    dataset_in(store)
    once = trained(store, shuffle_window=2)
    small = streamed(tmp_path, 0)
    bound = 15 * shard_bytes(small)  # of 20 shards, and those of the other sides
    small.files = ShardCache(tmp_path / "shards", small, bound_bytes=bound, smallest_bytes=0)  # type: ignore[attr-defined]
    seen: list[int] = []

    def stop() -> bool:
        seen.append(sum(size_of(one) for one in (tmp_path / "shards").iterdir() if len(one.name) == 64))
        return len(seen) == 9

    with pytest.raises(PreemptedError):
        trained(small, shuffle_window=2, around=Surroundings(stop_requested=stop))
    result = trained(small, shuffle_window=2, around=Surroundings(stop_requested=lambda: bool(stop()) and False))
    assert result.resumed_from_step > 0
    assert result.weights_sha256 == once.weights_sha256
    assert max(seen) <= bound


def test_data_larger_than_the_copies_asks_for_a_window(tmp_path: Path) -> None:
    small = streamed(tmp_path, 0)
    small.files = ShardCache(tmp_path / "shards", small, bound_bytes=15 * shard_bytes(small), smallest_bytes=0)  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=r"write train\.shuffle_window: 2, or raise RATCHET_SHARD_CACHE_BYTES"):
        trained(small)


CHILD = """
import json, os, sys, threading
import numpy as np, torch
from pathlib import Path
from mlratchet.infra.storage.folder import FolderStore
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.shards import load_split
from mlratchet.models.evaluation.score import score
from mlratchet.models.metrics.rows import save_rows
from mlratchet.models.training.batches import Plan, StepRows, batches
from mlratchet.models.workloads.tabular import TableClassifier

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

torch.set_num_threads(1)
store = FolderStore(Path(sys.argv[1]))
store.files = ShardCache(Path(sys.argv[2]), store, smallest_bytes=0)
rows = load_split(store, load_dataset(store, "d" * 64), "train")
workload = TableClassifier(columns=[f"c{n}" for n in range(256)], classes=["no", "yes"], hidden=[8])
module = workload.prepared_model()
most = anonymous()
workload.fit_preparation(module, rows.x.array, rows.y)
plan = Plan(rows=len(rows.ids), batch=256, smallest=1, seed=0, shards=1, first=0, count=1)
dataset = StepRows(rows, plan, workload)
loss = torch.nn.CrossEntropyLoss()
for _, ((x, y, _),) in batches(dataset, 0, plan.order().per_epoch, workers=0, pin=False):
    loss(module(x), y).backward()
    most = max(most, anonymous())
trained = most
scored = score(module.eval(), rows, batch_rows=256)
save_rows(store, scored)
print(json.dumps([len(scored.ids), trained, max(most, anonymous())]))
"""


def peak(tmp_path: Path, count: int) -> tuple[int, int, int]:
    """Rows, and kB of anonymous memory at most: of a training, and after scoring."""
    store = FolderStore(tmp_path / f"bucket-{count}")
    refs = []
    for at in range(0, count, 1000):
        x = np.random.default_rng(at).normal(size=(1000, 256)).astype(np.float32)
        ids = [f"{at + n:08d}" for n in range(1000)]
        refs += write_split(store, Split(ids=ids, x=x, y=np.arange(1000) % 2), rows_per_shard=1000)  # type: ignore[arg-type]
    made = DatasetManifest(
        id="d" * 64, snapshot_id="s", splits={"train": tuple(refs)}, rows={}, target_counts={}, index_sha256=""
    )
    store.create(f"datasets/{made.id}.json", canonical_json(made.model_dump(mode="json")))
    told = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / f"bucket-{count}"), str(tmp_path / f"copies-{count}")],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    rows, training, scoring = json.loads(told.stdout.splitlines()[-1])
    return rows, training, scoring


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="no /proc")
def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    few, more = peak(tmp_path, 8_000), peak(tmp_path, 48_000)  # 8 and 49 MB
    assert (few[0], more[0]) == (8_000, 48_000)
    for small, large in zip(few[1:], more[1:], strict=True):
        assert large < 1.1 * small, f"{small} kB of anonymous memory for 8 MB of rows, {large} kB for 49 MB"
