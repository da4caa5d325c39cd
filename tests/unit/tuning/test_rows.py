"""No row that a gate judges on is ever searched on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.shards import load_split, write_split
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.errors import DataError, SecurityError
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.sources.record import GROUP_COLUMN, Record
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training
from mlratchet.models.tuning.rows import write_search_dataset
from mlratchet.models.tuning.space import require_tune

from .conftest import Tuner


def test_the_dataset_of_a_study_names_no_test_row(
    store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest
) -> None:
    test_shards = {ref.sha256 for ref in dataset.splits["test"]}
    test_ids = set(load_split(store, dataset, "test").ids)
    for rows in ("validation", "holdout"):
        tune = require_tune(spec).model_copy(update={"rows": rows})
        made = write_search_dataset(store, dataset, tune, group_column=None)
        assert set(made.splits) == {"train", "validation"}
        assert not test_shards & {ref.sha256 for refs in made.splits.values() for ref in refs}
        seen = {identity for side in made.splits for identity in load_split(store, made, side).ids}
        assert seen
        assert not seen & test_ids
        assert made.index_sha256 == ""  # the index holds the labels of the test rows
        with pytest.raises(ValueError, match="no side 'test'"):
            load_split(store, made, "test")


def test_a_rank_refuses_a_trial_that_could_read_test_rows(
    store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest
) -> None:
    take_claim(store, "w", parent_version=None, owner="me", now_s=0)
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=dataset.id, workload=spec.workload, train=spec.train, processes=1,
        scratch="", search=True,
    )  # fmt: skip
    with pytest.raises(SecurityError, match="never searched on"):
        run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())


class Watching(MemoryStore):
    """Remembers what was read."""

    def __init__(self) -> None:
        super().__init__("watched")
        self.read: set[str] = set()

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.read.add(key)
        return super().get(key, sha256=sha256)


def test_a_whole_study_reads_no_byte_of_a_test_shard(
    store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest, tmp_path: object
) -> None:
    watched = Watching()
    for info in store.list():
        watched.put(info.key, store.get(info.key))
    tuner = Tuner(watched, spec, dataset, tmp_path)  # type: ignore[arg-type]
    stop, trials = tuner.run(trials=3)
    assert stop == "trials"
    assert len(trials) == 3
    assert {ref.key for ref in tuner.rows.splits["validation"]} <= watched.read
    assert not {ref.key for ref in dataset.splits["test"]} & watched.read


def test_a_holdout_keeps_groups_together_and_leaves_validation_rows_alone(
    store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest
) -> None:
    """Whatever the file calls the column: a row carries it as `@group`."""
    tune = require_tune(spec).model_copy(update={"rows": "holdout", "holdout": 0.3})
    rows = load_split(store, dataset, "train")
    grouped = replace(rows, columns={GROUP_COLUMN: rows.columns["customer"]})
    splits = dataset.splits | {"train": write_split(store, grouped, rows_per_shard=50)}
    dataset = dataset.model_copy(update={"splits": splits})
    made = write_search_dataset(store, dataset, tune, group_column="customer")
    train, scored = (load_split(store, made, side) for side in ("train", "validation"))
    assert not set(train.columns[GROUP_COLUMN]) & set(scored.columns[GROUP_COLUMN])
    assert sorted(train.ids + scored.ids) == sorted(rows.ids)
    assert made == write_search_dataset(store, dataset, tune, group_column="customer")
    assert made.id != write_search_dataset(store, dataset, tune, group_column=None).id


def test_a_holdout_keeps_equal_raw_rows_together_however_they_are_prepared(
    raw: MemoryStore, store: MemoryStore, spec: PipelineSpec
) -> None:
    """Their identity is that of their raw cells where it is told, else that of the input."""
    tune = require_tune(spec).model_copy(update={"rows": "holdout", "holdout": 0.5})
    raw.put("t/rows.csv", b"x")
    snapshot = take_snapshot(raw, store, prefix="t/")
    x = np.random.default_rng(0).normal(size=(400, 3)).astype(np.float32)

    def side_of_each(name: str, told: bool) -> dict[str, str]:
        records = [
            Record(id=f"r{n}", x=row, y=n % 2, row_digest=f"{n // 2:016x}" if told else "") for n, row in enumerate(x)
        ]
        made = write_dataset(
            store, snapshot, records, name, spec.workload, spec.data, spec.source, class_names=("0", "1")
        )
        found = write_search_dataset(store, made, tune, group_column=None)
        return {one: side for side in found.splits for one in load_split(store, found, side).ids}

    told, untold = side_of_each("told", True), side_of_each("untold", False)
    assert set(told.values()) == {"train", "validation"}
    pairs = [(f"r{n}", f"r{n + 1}") for n in range(0, 400, 2) if f"r{n}" in told and f"r{n + 1}" in told]
    assert len(pairs) > 50
    assert all(told[one] == told[other] for one, other in pairs)
    assert any(untold[one] != untold[other] for one, other in pairs)


def test_a_holdout_without_rows_is_refused(store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest) -> None:
    tune = require_tune(spec).model_copy(update={"rows": "holdout", "holdout": 1e-9})
    with pytest.raises(DataError, match="no validation rows for the study"):
        write_search_dataset(store, dataset, tune, group_column=None)


Fresh = Callable[[], Tuner]


def test_a_trial_keeps_neither_weights_nor_checkpoints(tuner: Tuner) -> None:
    tuner.run(trials=2)
    kept = [info.key for info in tuner.store.list("work/")]
    assert any(key.endswith("result.json") for key in kept)
    assert not [key for key in kept if "weights-" in key or "/checkpoints/" in key]
