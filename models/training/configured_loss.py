"""The loss that a pipeline file asks for, and its class weights."""

from __future__ import annotations

import torch
from mlratchet.models.objectives.base import Loss
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.fitting import loss_name
from mlratchet.models.workloads.base import Workload


def class_weight(config: TrainConfig, workload: Workload, rows: Split) -> torch.Tensor | None:
    """(C,) weights, of a multi-label those of its positive rows; None without."""
    wanted = config.class_weights
    if wanted is None:
        return None
    if wanted != "balanced":
        return torch.tensor(wanted, dtype=torch.float32)
    return torch.from_numpy(workload.objective.balanced_weights(rows.y, len(workload.class_names())))


def build_loss(config: TrainConfig, workload: Workload, weight: torch.Tensor | None) -> Loss:
    """The configured loss. Raises ``ConfigurationError`` for one that does not fit the objective."""
    name, smoothing = loss_name(config, workload, weighted=weight is not None), config.label_smoothing
    if name == "task":
        return lambda output, target: workload.loss(output, target, label_smoothing=smoothing)
    return workload.objective.named_losses(weight=weight, label_smoothing=smoothing)[name]
