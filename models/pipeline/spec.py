"""The pipeline: one YAML file that says what to train, on what data, behind which gates, and when."""

from __future__ import annotations

from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.data.config import DataConfig, Source
from mlratchet.models.data.rules import AS_USUAL, QualityConfig
from mlratchet.models.data.split_rules import ClusterSplit
from mlratchet.models.evaluation.config import EvaluationConfig
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import digest
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.pipeline.schedule import ScheduleRef
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.preparation.section import PreparationSection
from mlratchet.models.schema.fields import Schema
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.training.config import TrainConfig
from pydantic import ConfigDict, Field, model_validator


class PipelineSpec(StrictModel):
    """One pipeline, whole."""

    # pydantic's models have a method `schema`, so that the key of the file is an alias
    model_config = ConfigDict(validate_by_name=True, serialize_by_alias=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,47}$")
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    schedule: ScheduleRef | None = None
    workload: WorkloadRef
    example_schema: Schema | None = Field(default=None, alias="schema", exclude_if=lambda value: value is None)
    """What an example holds; in the file under `schema`, or in a file beside it that `schema` names. null: the
    workload says it."""
    preparation: PreparationSection | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the fields of the schema become tensors; null: as is usual for the kind of each."""
    source: Source
    data: DataConfig = DataConfig()
    quality: QualityConfig = Field(default=AS_USUAL, exclude_if=lambda value: value == AS_USUAL)
    """What follows where a delivery breaks a rule."""
    train: TrainConfig = TrainConfig()
    gates: GatePolicy
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingConfig = ServingConfig()
    monitoring: MonitoringConfig | None = Field(default=None, exclude_if=lambda value: value is None)
    """How the deployed version is watched; null: nobody looks by himself."""
    tune: TuneConfig | None = None
    """What `ratchet tune` searches; null: nothing."""

    @model_validator(mode="after")
    def _rows_by_the_rules(self) -> PipelineSpec:
        """What of `quality` decides rows or their sides stands in their identity."""
        near = self.quality.near if isinstance(self.data.split, ClusterSplit) else None
        if (self.data.set_aside, self.data.near) != (self.quality.set_aside, near):
            data = self.data.model_copy(update={"set_aside": self.quality.set_aside, "near": near})
            object.__setattr__(self, "data", data)
        return self

    def revision(self) -> str:
        """SHA-256 hex of the canonical form: what was run, to the last threshold."""
        return digest(self.model_dump(mode="json"))

    @property
    def policy(self) -> GatePolicy:
        """The gates as they are judged: what is required stands in them, whatever the file declares."""
        return self.gates.with_required()

    def policy_digest(self) -> str:
        """SHA-256 hex of the gates alone."""
        return self.policy.digest()
