"""Ranks and their loader workers train over copies that the process with the credentials keeps: one download for all of
them, the bits of a training in memory, and no way to change a copy."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from mlratchet.infra.child.confine import not_held
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.launch import local
from mlratchet.infra.launch.local import LocalLauncher
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.storage.shard_cache import ShardCache, shards_folder
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.shards import write_split
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(not_held()), reason=f"not held here: {not_held()}")]

SHOP = """
import json, os
from pathlib import Path
from mlratchet.models.workloads.tabular import TableClassifier

class Writing(TableClassifier):
    def build_model(self):
        scratch, found = Path(os.environ["HOME"]), {}
        copies = Path("{copies}")
        for name, attempt in {
            "plant": lambda: (copies / ("0" * 64)).write_text("x"),
            "change": lambda: next(iter(copies.iterdir())).open("ab"),
            "remove": lambda: next(iter(copies.iterdir())).unlink(),
            "key": lambda: (copies.parent.parent / "stack.env").read_text(),
        }.items():
            try:
                found[name] = repr(attempt())
            except Exception as error:
                found[name] = type(error).__name__
        if os.environ.get("RANK") == "0":
            (scratch / "found.json").write_text(json.dumps(found))
        return super().build_model()
"""


class Counting(MemoryStore):
    """What is read of shards."""

    def __init__(self) -> None:
        super().__init__("counting")
        self.read = Counter[str]()

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        self.read[key] += 1
        return super().get_range(key, start, length, sha256=sha256)


def dataset_in(store: MemoryStore | RecordStore) -> DatasetManifest:
    x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    rows = Split(ids=[f"r{at}" for at in range(300)], x=x, y=(x.sum(axis=1) > 0).astype(np.int64))  # type: ignore[arg-type]  # one input
    splits = {side: write_split(store, rows, rows_per_shard=20) for side in ("train",)}
    few = Split(ids=rows.ids[:50], x=x[:50], y=rows.y[:50])  # type: ignore[arg-type]
    splits |= {side: write_split(store, few, rows_per_shard=20) for side in ("validation", "test")}
    made = DatasetManifest(
        id="d" * 64, snapshot_id="s", splits=splits, rows={}, target_counts={"no": 1, "yes": 1}, index_sha256="i"
    )
    store.create(f"datasets/{made.id}.json", canonical_json(made.model_dump(mode="json")))
    return made


def test_ranks_share_one_download_and_get_the_bits_of_a_training_in_memory(
    tmp_path: Path, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    (home / "stack.env").write_text(
        "RATCHET_S3_ACCESS_KEY=a\nRATCHET_S3_SECRET_KEY=secret\nRATCHET_MLFLOW_TRACKING_URI=x\n"
        "RATCHET_PREFECT_API_URL=x\n"
    )
    (project / "shop.py").write_text(SHOP.replace("{copies}", str(shards_folder(home))))
    monkeypatch.chdir(project)
    counting = Counting()
    counting.files = ShardCache(shards_folder(home), counting, smallest_bytes=0)  # type: ignore[attr-defined]
    signed = RecordStore(counting, MemoryKeys())
    monkeypatch.setattr(local, "signing_store", lambda _settings: signed)
    parameters = {"columns": ["a", "b"], "classes": ["no", "yes"]}
    train = TrainConfig(epochs=2, global_batch_size=32, shards=2, processes=2, loader_workers=1)
    job = TrainJob(
        work_key="f" * 64, epoch=1, dataset_id=dataset_in(signed).id, train=train, processes=2,
        workload=WorkloadRef(use="shop:Writing", parameters=parameters), scratch=str(home / "scratch" / "t"),
    )  # fmt: skip
    result = LocalLauncher(home).train(job, on_event=lambda _: None)
    found = json.loads((Path(job.scratch) / "found.json").read_text())
    assert found == dict.fromkeys(("plant", "change", "remove", "key"), "PermissionError")
    assert counting.read
    assert set(counting.read.values()) == {1}
    plain = RecordStore(store, MemoryKeys())
    here = job.model_copy(
        update={
            "dataset_id": dataset_in(plain).id,
            "workload": WorkloadRef(use="mlratchet.models.workloads.tabular:TableClassifier", parameters=parameters),
        }
    )
    once = run_training(here, plain, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())
    assert once is not None
    assert once.weights_sha256 == result.weights_sha256
    assert once.rows_key == result.rows_key
