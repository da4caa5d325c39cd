"""What a rank is told: one file, no arguments."""

from __future__ import annotations

from typing import Any

from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.errors import RatchetError
from mlratchet.models.training.config import TrainConfig
from pydantic import Field


class Rendezvous(StrictModel):
    """Where the agents of an attempt meet."""

    endpoint: str
    """host:port of the first node, where agents of several nodes meet; a file that the agent alone reaches, where there
    is one node."""
    run_id: str
    first: bool = True
    """Whether this is the node that listens at the endpoint; its ranks come first, and write the result."""
    address: str = "127.0.0.1"
    """Of this node, as the others reach it."""
    wait_seconds: float = 600.0
    """How long to wait for the other nodes."""


class TrainJob(StrictModel):
    """One attempt at a work key."""

    work_key: str
    epoch: int = Field(ge=1)
    """Fencing token of the attempt; part of every key it writes."""
    dataset_id: str
    workload: WorkloadRef
    train: TrainConfig
    logged_weight: float = Field(default=1.0, gt=0)
    """How often a row that the inference log gave counts in the loss: `source.inference_log.weight`."""
    processes: int = Field(ge=1)
    """Per node."""
    rendezvous: Rendezvous | None = None
    """The launcher's."""
    bucket: str | None = None
    """The launcher's."""
    scratch: str
    """Directory of this attempt, on the machine of rank 0."""
    parent_weights_key: str | None = None
    """Store key of the weights a warm start begins from."""
    parent_weights_sha256: str | None = None
    parent_classes: tuple[str, ...] = Field(default=(), strict=False)
    """Of the parent, by output; empty: as this workload's."""
    parent_columns: tuple[str, ...] = Field(default=(), strict=False)
    """Of the parent's input; empty: as this workload's."""
    parent_example: dict[str, str] = Field(default_factory=dict)
    """What examples are to the parent: `schema`, `preparation` and what that was `fitted` to; empty: nothing."""
    code: dict[str, Any] = Field(default_factory=dict)
    """What decides the weights, on the first node; other nodes must have the same. Empty: on one node."""
    fresh_if_nothing_fits: bool = False
    """Whether a parent that does not fit this model is left: the training begins fresh and its result says why."""
    search: bool = False
    """A trial of a search: its dataset has no test rows, and nothing is published but the result."""


class PreemptedError(RatchetError):
    """Training was asked to leave: the checkpoint is saved."""

    code = "PREEMPTED"
    exit_code = 5


class TrainingError(RatchetError):
    """Training cannot go on; the message says at which step and what to change."""

    code = "TRAIN"
    exit_code = 3


class AbandonedError(RatchetError):
    """Whoever asked for the training does not want it any more: its processes were ended at once."""

    code = "ABANDONED"
    exit_code = 5


class StaleAttemptError(RatchetError):
    """A newer attempt owns the work key; this one may not write."""

    code = "STALE"
    exit_code = 5
