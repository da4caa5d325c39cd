"""Losses by name. Every loss is a sum over rows divided by the number of rows, so that shards add up.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mlratchet.models.data.shards import Split
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.metrics import metrics_for
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.workloads.base import Workload
from torch import nn
from torch.nn import functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (output, target) -> scalar
FITTING = {
    "cross_entropy": ("classification",),
    "mse": ("regression",),
    "mae": ("regression",),
    "huber": ("regression",),
}


def class_weight(config: TrainConfig, workload: Workload, rows: Split) -> torch.Tensor | None:
    """(C,) weights; None without."""
    wanted = config.class_weights
    if wanted is None:
        return None
    count = len(workload.class_names())
    if wanted != "balanced":
        return torch.tensor(wanted, dtype=torch.float32)
    counts = np.bincount(rows.y, minlength=count)
    return torch.from_numpy((len(rows.y) / (count * np.maximum(counts, 1))).astype(np.float32))


def check_fits(config: TrainConfig, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for what could never train, before anything does."""
    build_loss(config, workload, None)
    stopping = config.early_stopping
    known = metrics_for(workload.task, workload.class_names())
    if stopping is not None and stopping.metric != "loss" and stopping.metric not in known:
        raise ConfigurationError(
            f"train.early_stopping.metric: unknown metric {stopping.metric!r}; there are: loss, {', '.join(known)}"
        )
    if config.class_weights is not None and workload.task != "classification":
        raise ConfigurationError(f"train.class_weights: a {workload.task} has no classes; remove it")
    if isinstance(config.class_weights, tuple) and len(config.class_weights) != len(workload.class_names()):
        raise ConfigurationError(
            f"train.class_weights: got {len(config.class_weights)} weights for {len(workload.class_names())} classes"
        )


def build_loss(config: TrainConfig, workload: Workload, weight: torch.Tensor | None) -> Loss:
    """The configured loss. Raises ``ConfigurationError`` for one that does not fit the task."""
    name, smoothing = config.loss, config.label_smoothing
    if name == "task":
        if weight is None:
            return lambda output, target: workload.loss(output, target, label_smoothing=smoothing)
        name = "cross_entropy"
    if workload.task not in FITTING[name]:
        fitting = ", ".join(n for n, tasks in FITTING.items() if workload.task in tasks)
        raise ConfigurationError(f"train.loss: {name} does not fit a {workload.task}; there are: task, {fitting}")
    if name == "cross_entropy":

        def weighted(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            each = F.cross_entropy(output, target, weight=weight, label_smoothing=smoothing, reduction="sum")
            return each / len(target)

        return weighted
    regression = {"mse": nn.MSELoss(), "mae": nn.L1Loss(), "huber": nn.HuberLoss()}[name]

    def distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = regression(output.reshape(target.shape), target.to(output.dtype))
        return value

    return distance
