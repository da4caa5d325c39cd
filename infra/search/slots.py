"""How many trials fit side by side, and what each of them may use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlratchet.infra.launch.local import resolve_processes
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.pipeline.tune import TuneConfig
from mlratchet.models.training.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Slots:
    """Room for trials."""

    processes: int  # ranks per trial
    environments: tuple[dict[str, str], ...]  # one per slot: which GPUs it sees

    @property
    def count(self) -> int:
        """Trials side by side."""
        return len(self.environments)


def free_slots(tune: TuneConfig, train: TrainConfig) -> Slots:
    """In `exact` mode trials that run side by side take one process each: the bits are the same, the overhead least.

    Raises ``ConfigurationError`` when more is asked for than the machine has.
    """
    import torch

    gpus = torch.cuda.device_count() if train.device != "cpu" and torch.cuda.is_available() else 0
    devices, what = (gpus, "GPUs") if gpus else (len(os.sched_getaffinity(0)), "CPU cores")
    alone = train.mode == "exact" and tune.parallel != 1
    processes = 1 if alone else resolve_processes(train)
    most = max(devices // processes, 1)
    count = most if tune.parallel == "auto" else tune.parallel
    if count > (most if gpus else max(most, 2)):
        raise ConfigurationError(
            f"tune.parallel: got {count}, but this machine has room for {most} trials ({devices} {what}, {processes} "
            "processes each); lower it or write auto"
        )
    return Slots(processes=processes, environments=tuple(_environment(slot, processes, gpus) for slot in range(count)))


def _environment(slot: int, processes: int, gpus: int) -> dict[str, str]:
    if not gpus:
        return {}
    mine = range(slot * processes, (slot + 1) * processes)
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(device) for device in mine)}
