"""The pipeline: one YAML file that says what to train, on what data, behind which gates, and when."""

from __future__ import annotations

from typing import Any

from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import digest
from mlratchet.models.pipeline.strict import StrictModel
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.training.config import TrainConfig
from pydantic import Field


class WorkloadRef(StrictModel):
    """The Python side of the pipeline."""

    use: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    """`package.module:Class`, a subclass of `mlratchet.models.workloads.base.Workload`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of the class."""


class ScheduleRef(StrictModel):
    """When the pipeline runs by itself."""

    cron: str
    timezone: str = "UTC"


class PipelineSpec(StrictModel):
    """One pipeline, whole."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,47}$")
    description: str = ""
    owner: str = ""
    tags: tuple[str, ...] = Field(default=(), strict=False)
    schedule: ScheduleRef | None = None
    workload: WorkloadRef
    source: SourceConfig
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    gates: GatePolicy
    serving: ServingConfig = ServingConfig()

    def revision(self) -> str:
        """SHA-256 hex of the canonical form: what was run, to the last threshold."""
        return digest(self.model_dump(mode="json"))

    def policy_digest(self) -> str:
        """SHA-256 hex of the gates alone."""
        return digest(self.gates.model_dump(mode="json"))
