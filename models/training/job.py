"""What a rank is told: one file, no arguments."""

from __future__ import annotations

from mlratchet.models.errors import RatchetError
from mlratchet.models.pipeline.strict import StrictModel
from mlratchet.models.pipeline.workload import WorkloadRef
from mlratchet.models.training.config import TrainConfig
from pydantic import Field


class TrainJob(StrictModel):
    """One attempt at a work key."""

    work_key: str
    epoch: int = Field(ge=1)
    """Fencing token of the attempt; part of every key it writes."""
    dataset_id: str
    workload: WorkloadRef
    train: TrainConfig
    processes: int = Field(ge=1)
    scratch: str
    """Directory of this attempt, on the machine of rank 0."""
    parent_weights_key: str | None = None
    """Store key of the weights a warm start begins from."""
    parent_weights_sha256: str | None = None
    search: bool = False
    """A trial of a search: no test rows are scored, nothing is published but the result."""


class PreemptedError(RatchetError):
    """Training was asked to leave: the checkpoint is saved."""

    code = "PREEMPTED"
    exit_code = 5


class TrainingError(RatchetError):
    """Training cannot go on; the message says at which step and what to change."""

    code = "TRAIN"
    exit_code = 3


class StaleAttemptError(RatchetError):
    """A newer attempt owns the work key; this one may not write."""

    code = "STALE"
    exit_code = 5
