"""Try a workload in a child, which holds no key: it runs the user's code and may be killed by it."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlratchet.infra.child.call import ForkedChildren
from mlratchet.models.config import StrictModel, WorkloadRef
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.ports.children import EndedError, HungError, Rights, Workplace, children, in_process
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.training.config import TrainConfig

if TYPE_CHECKING:
    from mlratchet.models.sources.record import Split

TIMEOUT_S = 300.0
REHEARSE, ROWS = f"{__name__}:rehearsed", "in/rows"


class RehearsalJob(StrictModel):
    """What the child is told."""

    workload: WorkloadRef
    train: TrainConfig
    world: int
    """Processes that will train."""


def rehearse_before_training(
    workload: WorkloadRef, train: TrainConfig, *, world: int, rows: Split | None = None, home: Path | None = None
) -> tuple[str, ...]:
    """Notes of a rehearsal of the workload, on these training rows or on rows that are made up.

    In a child, also of a process that has none else: then a fork of the warm process of the stack in `home`.
    Raises ``ConfigurationError`` for what has to be mended first, with its place, and ``InfrastructureError`` where
    the child was killed.
    """
    lent = ObjectsInMemory("rehearsal")
    if rows is not None:
        import numpy as np
        from safetensors.numpy import save

        arrays = rows.x.arrays() | {"y": rows.y}
        lent.put(ROWS, save({name: np.ascontiguousarray(one) for name, one in arrays.items()}))
    asked = RehearsalJob(workload=workload, train=train, world=world).model_dump(mode="json")
    caller = ForkedChildren(home) if in_process() else children()
    try:
        told = caller.call(REHEARSE, asked, store=lent, rights=Rights(read=("in/",)), time_limit_s=TIMEOUT_S)
    except HungError as error:
        raise ConfigurationError(
            f"the workload was tried for {TIMEOUT_S:.0f} s with a few rows and did not end: look for a loop, a "
            "download or a wait in build_model, forward or loss"
        ) from error
    except EndedError as error:
        raise unanswered(error.ended_with if error.ended_with is not None else 1, error.last_line) from error
    problem, notes = (told.get(name) for name in ("problem", "notes")) if isinstance(told, dict) else (None, None)
    if problem or not isinstance(notes, list):
        raise ConfigurationError(str(problem or "the workload changed what its rehearsal answers"))
    return tuple(str(note) for note in notes)


def unanswered(code: int, output: str) -> ConfigurationError:
    """Why there is no report: it is the workload that ended the process."""
    last = (output.strip() or "no output").splitlines()[-1][:300]
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
    return ConfigurationError(f"the workload ended the process that tried it {how}: {last}")


def rehearsed(request: Mapping[str, Any], workplace: Workplace) -> dict[str, Any]:
    """In the child."""
    import torch
    from mlratchet.infra.storage.memory import MemoryStore
    from mlratchet.models.sources.record import Split
    from mlratchet.models.tensors.named import Inputs
    from mlratchet.models.training.rehearsal import rehearse
    from safetensors.numpy import load

    torch.set_num_threads(1)
    job = RehearsalJob.model_validate(request)
    rows = None
    if workplace.objects.exists(ROWS):
        arrays = load(workplace.objects.get(ROWS))
        x = Inputs.from_arrays(arrays)
        rows = Split(ids=[str(at) for at in range(len(x))], x=x, y=arrays["y"])
    return asdict(rehearse(MemoryStore("rehearsal"), job.workload, job.train, world=job.world, rows=rows))
