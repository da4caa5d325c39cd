"""Configuration of training; part of the work key."""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field, model_validator


class OptimizerConfig(StrictModel):
    """Which optimizer, and its parameters."""

    name: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate, per global step."""
    weight_decay: float = Field(default=0.01, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Used by sgd alone."""


class ScheduleConfig(StrictModel):
    """How the learning rate moves over the global steps."""

    name: Literal["constant", "cosine", "step"] = "cosine"
    warmup_fraction: float = Field(default=0.05, ge=0, lt=1)
    """Share of all steps spent rising linearly from 0."""
    step_epochs: int = Field(default=10, ge=1)
    """For `step`: epochs between two decays."""
    step_factor: float = Field(default=0.1, gt=0, lt=1)
    """For `step`: the factor of each decay."""


class TrainConfig(StrictModel):
    """The training of one candidate."""

    epochs: int = Field(default=10, ge=1, le=100_000)
    """Passes over the training rows."""
    global_batch_size: int = Field(default=64, ge=1)
    """Rows per optimizer step, over all processes."""
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: float | None = Field(default=1.0, gt=0)
    """Largest L2 norm of the gradient; null switches it off."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    seed: int = Field(default=0, ge=0, lt=2**32)
    warm_start: Literal["champion", "none"] = "champion"
    """Begin from the champion's weights, or fresh. Without a champion a run begins fresh."""
    initial_weights: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Digest that `ratchet import-weights FILE.pth` printed: where training begins without a champion to start from."""
    processes: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Ranks; auto is one per GPU, else min(cores, 4). More than the machine has devices is refused."""
    threads_per_process: int = Field(default=1, ge=1, le=256)
    """Intra-op threads of each rank."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    max_restarts: int = Field(default=3, ge=0, le=100)
    """Times the agent restarts the ranks within one attempt."""
    process_group_timeout_seconds: float = Field(default=60.0, gt=0)
    """How long a collective may wait for a rank."""

    @model_validator(mode="after")
    def _batch_holds_every_rank(self) -> TrainConfig:
        if isinstance(self.processes, int) and self.global_batch_size % self.processes:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is not divisible by processes "
                f"{self.processes}; choose a multiple"
            )
        return self
