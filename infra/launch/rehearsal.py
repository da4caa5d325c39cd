"""Rehearse a workload where its code can reach nothing: in a child, before anything trains."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ports.children import Workplace, children
from mlratchet.models.training.config import TrainConfig

if TYPE_CHECKING:
    from mlratchet.models.sources.record import Split

TIME_LIMIT_S = 300.0
REHEARSED, ROWS = "mlratchet.infra.launch.rehearsal:rehearsed", "rows.safetensors"


class RehearsalJob(StrictModel):
    """What the child is told."""

    workload: WorkloadRef
    train: TrainConfig
    world: int
    """Processes that will train."""


def rehearse_before_training(
    workload: WorkloadRef, train: TrainConfig, *, world: int, rows: Split | None = None
) -> tuple[str, ...]:
    """Notes of a rehearsal of the workload, on these training rows or on rows that are made up.

    Raises ``ConfigurationError`` for what has to be mended first, with its place, and for a workload that ends its
    process or goes on for `TIME_LIMIT_S`.
    """
    job = RehearsalJob(workload=workload, train=train, world=world)
    with tempfile.TemporaryDirectory(prefix="ratchet-rehearsal-") as name:
        folder = Path(name)
        if rows is not None:
            from safetensors.numpy import save_file

            save_file({"x": rows.x, "y": rows.y}, folder / ROWS)
        told = children().call(REHEARSED, job.model_dump(mode="json"), scratch=folder, time_limit_s=TIME_LIMIT_S)
    if told["problem"]:
        raise ConfigurationError(str(told["problem"]))
    return tuple(str(note) for note in told["notes"])


def rehearsed(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child: what was found, as JSON values."""
    import torch
    from mlratchet.infra.storage.memory import MemoryStore
    from mlratchet.models.sources.record import Split
    from mlratchet.models.training.rehearsal import rehearse
    from safetensors.numpy import load_file

    torch.set_num_threads(1)
    job, rows = RehearsalJob.model_validate(dict(request)), None
    if (workplace.scratch / ROWS).is_file():
        arrays = load_file(workplace.scratch / ROWS)
        rows = Split(ids=[str(at) for at in range(len(arrays["x"]))], x=arrays["x"], y=arrays["y"])
    return asdict(rehearse(MemoryStore("rehearsal"), job.workload, job.train, world=job.world, rows=rows))
