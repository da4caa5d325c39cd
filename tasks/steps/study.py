"""The study of a run: its rows, its identity, where its trials begin."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from mlratchet.infra.search.slots import Slots, free_slots
from mlratchet.models.data.dataset import DatasetManifest, refuse_gate_rows
from mlratchet.models.metrics import Metric
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.pipeline.work_key import work_key, work_parts
from mlratchet.models.training.config import CheckpointConfig
from mlratchet.models.tuning.rows import write_search_dataset
from mlratchet.models.tuning.space import Values, baseline, objective, overrides, require_tune, trial_spec
from mlratchet.models.tuning.study import study_id
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.step import step
from mlratchet.tasks.steps.train import initial_weights
from mlratchet.tasks.support.beginning import names_of_parent
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

TRIAL_CHECKPOINTS = CheckpointConfig(every_seconds=60.0, keep=1)  # a killed trial loses at most a minute


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """What all trials share."""

    id: str
    tune: TuneConfig
    workload: Workload  # before its preparation is fitted, as every trial's is compared with it
    metric: Metric
    rows: DatasetManifest
    baseline: Values
    slots: Slots
    parent_version: int | None
    parent_weights_key: str | None
    parent_weights_sha256: str | None
    parent_classes: tuple[str, ...] = ()
    parent_columns: tuple[str, ...] = ()
    parent_example: dict[str, str] = field(default_factory=dict)

    @property
    def higher_is_better(self) -> bool:
        """Of the metric."""
        return self.metric.direction == "higher"

    def spec_of(self, run: Run, values: Values) -> PipelineSpec:
        """The pipeline of a trial. Raises ``ConfigurationError`` when the values do not fit together."""
        whole = trial_spec(run.spec, self.workload, values)
        train = whole.train.model_copy(
            update={"warm_start": self.parent_version or "none", "checkpoint": TRIAL_CHECKPOINTS, "nodes": 1}
        )
        return whole.model_copy(update={"train": train})

    def work_key(self, run: Run, spec: PipelineSpec) -> str:
        """Equal configurations on equal rows have one key, in this study and in others. Never that of a candidate:
        the dataset is another one."""
        return work_key(
            work_parts(
                spec,
                snapshot_id=self.rows.snapshot_id,
                dataset_id=self.rows.id,
                code=run.training_code,
                torch_version=torch.__version__.split("+")[0],
                world=self.slots.processes,
            )
        )

    def assignments(self, values: Values) -> tuple[str, ...]:
        """For `ratchet run --set`: the values, and the start that they were measured with."""
        start = "champion" if self.tune.warm_start == "champion" else "none"
        return (*overrides(values), f"train.warm_start={start}")


@step("Cut the rows of the study")
def open_study(run: Run, work: Work, dataset: DatasetManifest) -> Study:
    """Publish the study's manifest, without any row that a gate judges on, and name the study."""
    tune = require_tune(run.spec)
    rows = write_search_dataset(run.adapters.store, dataset, tune, group_column=run.spec.source.column_of("group"))
    refuse_gate_rows(rows)
    parent = work.incumbent if tune.warm_start == "champion" else None
    start, start_sha256 = (parent.weights_key, parent.weights_sha256) if parent else initial_weights(run)
    beginning = names_of_parent(run, parent)
    return Study(
        id=study_id(
            run.spec,
            dataset_id=rows.id,
            code=run.training_code,
            torch_version=torch.__version__.split("+")[0],
            parent_version=parent.version if parent else None,
        ),
        tune=tune,
        workload=load_workload(run.spec.workload.use, dict(run.spec.workload.parameters)),
        metric=objective(run.spec, run.workload),
        rows=rows,
        baseline=baseline(run.spec),
        slots=free_slots(tune, run.spec.train),
        parent_version=parent.version if parent else None,
        parent_weights_key=start,
        parent_weights_sha256=start_sha256,
        parent_classes=beginning.classes,
        parent_columns=beginning.columns,
        parent_example=beginning.example,
    )
