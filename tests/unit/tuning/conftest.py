"""A study without a stack: stores in memory, trials trained in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from mlratchet.infra.search.journal import BucketJournal
from mlratchet.infra.search.slots import Slots
from mlratchet.infra.search.study import Search
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import take_snapshot
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.sources.record import Record
from mlratchet.models.training.job import AbandonedError, TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.result import TrainResult
from mlratchet.models.training.run import run_training
from mlratchet.models.tuning.rows import write_search_dataset
from mlratchet.models.tuning.space import baseline, objective, require_tune
from mlratchet.models.tuning.study import TrialFacts
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.showing.mlflow_study import StudyTracking
from mlratchet.tasks.steps.search import Pool, Stop
from mlratchet.tasks.steps.study import Study

TEXT = """
name: three
workload:
  use: mlratchet.models.workloads.tabular:TableClassifier
  parameters: {columns: [a, b, c], classes: ["0", "1"], hidden: 4}
source: {prefix: t/}
train:
  epochs: 4
  global_batch_size: 64
  shards: 1
  optimizer: {name: sgd, learning_rate: 0.01}
gates:
  data: [{kind: data, measure: rows, minimum: 10}]
  candidate: [{kind: absolute, metric: accuracy, minimum: 0.5}]
  staging: [{kind: parity, maximum_difference: 0.001}]
  champion: [{kind: absolute, metric: accuracy, minimum: 0.5}]
tune:
  metric: log_loss
  trials: 5
  startup_trials: 3
  parallel: 1
  pruning: {kind: none}
  space:
    train.optimizer.learning_rate: {kind: float, low: 0.001, high: 1.0, log: true}
    workload.parameters.hidden: {kind: categorical, choices: [2, 4, [8, 4]]}
"""


@pytest.fixture
def spec() -> PipelineSpec:
    """A table of three columns with a search space."""
    return parse_pipeline(TEXT, where="three.yaml")


@pytest.fixture
def dataset(raw: MemoryStore, store: MemoryStore, spec: PipelineSpec) -> DatasetManifest:
    """300 rows; those of the test side hold NaN, so that whoever trains or scores on one is found out."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3)).astype(np.float32)
    raw.put("t/rows.csv", b"x")
    records = [
        Record(id=f"r{i}", x=row, y=int(row.sum() > 0), content_sha256=str(i), columns={"customer": str(i % 20)})
        for i, row in enumerate(x)
    ]
    snapshot = take_snapshot(raw, store, prefix="t/")
    return write_dataset(
        store, snapshot, records, "code", spec.workload, DataConfig(), SourceConfig(prefix="t/"), class_names=("0", "1")
    )


class InProcess:
    """The launcher's contract with one rank in this thread; `kill_at` = (trial's epochs told, attempt) ends it."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.jobs: list[TrainJob] = []
        self.fail: Callable[[TrainJob], None] = lambda job: None

    def train(
        self,
        job: TrainJob,
        *,
        on_event: Callable[[dict[str, Any]], None],
        abandoned: Callable[[], bool],
        environment: Mapping[str, str],
    ) -> TrainResult:
        self.jobs.append(job)
        self.fail(job)

        def emit(event: dict[str, Any]) -> None:
            on_event(event)
            if abandoned():
                raise AbandonedError("given up")

        around = Surroundings(emit=emit)
        result = run_training(job, self.store, rank=0, world=1, device=torch.device("cpu"), around=around)
        assert result is not None
        return result


class Tuner:
    """One process's view of a study; a new one over the same store is a restart."""

    def __init__(self, store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest, folder: Path) -> None:
        self.store, self.spec, self.folder = store, spec, folder
        self.launcher = InProcess(store)
        self.tracker = MemoryTracker(MemoryStore("artifacts"))
        self.workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
        self.rows = write_search_dataset(store, dataset, require_tune(spec), group_column=None)
        self.fitted = fitted_to(store, dataset) if dataset.preparation_sha256 else ""
        self.epoch = 0
        self.tell: Callable[[list[TrialFacts], TrialFacts | None], None] = lambda trials, ended: None

    def run(self, **changes: Any) -> tuple[Stop, list[TrialFacts]]:
        """Until it stops."""
        self.epoch += 1
        tune = require_tune(self.spec).model_copy(update=changes)
        spec = self.spec.model_copy(update={"tune": tune})
        slots = Slots(processes=1, environments=({},) * (tune.parallel if isinstance(tune.parallel, int) else 2))
        study = Study(
            id="s" * 64, tune=tune, workload=self.workload, metric=objective(spec, self.workload), rows=self.rows,
            baseline=baseline(spec), slots=slots, parent_version=None, parent_weights_key=None,
            parent_weights_sha256=None,
        )  # fmt: skip
        adapters = SimpleNamespace(
            store=self.store, launcher=self.launcher, tracker=self.tracker, settings=SimpleNamespace(home=self.folder)
        )
        made = with_fitted(spec.workload, self.fitted)
        run: Any = SimpleNamespace(
            spec=spec, adapters=adapters, workload=load_workload(made.use, dict(made.parameters)), training_code={},
            fitted=self.fitted, actor="me", run_id="r", scratch=self.folder,
        )  # fmt: skip
        self.search = Search(
            BucketJournal(self.store, study.id, epoch=self.epoch), tune,
            higher_is_better=study.higher_is_better, baseline=study.baseline, epochs=spec.train.epochs,
        )  # fmt: skip
        self.tracking = StudyTracking(run, study)
        pool = Pool(run, study, self.search, self.tracking, tell=self.tell)
        return pool.run(), self.search.trials()


@pytest.fixture
def tuner(store: MemoryStore, spec: PipelineSpec, dataset: DatasetManifest, tmp_path: Path) -> Tuner:
    """Over the store of the test."""
    return Tuner(store, spec, dataset, tmp_path)


@pytest.fixture
def another(spec: PipelineSpec, dataset: DatasetManifest, store: MemoryStore, tmp_path: Path) -> Callable[[], Tuner]:
    """An independent study of the same rows, over a store that has the rows and nothing else."""

    def make() -> Tuner:
        fresh = MemoryStore("fresh")
        for info in store.list():
            if info.key.startswith(("shards/", "datasets/")):
                fresh.put(info.key, store.get(info.key))
        return Tuner(fresh, spec, dataset, tmp_path)

    return make


def told(trials: list[TrialFacts]) -> list[TrialFacts]:
    """Without what the clock decides."""
    return [replace(trial, seconds=0.0) for trial in trials]
