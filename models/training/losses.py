"""Losses by name. Every loss is a sum over rows divided by the number of rows, so that shards add up.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mlratchet.models.objectives.ranking import listwise, pairwise
from mlratchet.models.sources.record import Split
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.fitting import loss_name
from mlratchet.models.workloads.base import Workload
from torch import nn
from torch.nn import functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (output, target) -> scalar


def class_weight(config: TrainConfig, workload: Workload, rows: Split) -> torch.Tensor | None:
    """(C,) weights, of a multi-label those of its positive rows; None without."""
    wanted = config.class_weights
    if wanted is None:
        return None
    count = len(workload.class_names())
    if wanted != "balanced":
        return torch.tensor(wanted, dtype=torch.float32)
    if workload.task == "multi_label":
        positive = rows.y.sum(axis=0)
        return torch.from_numpy(((len(rows.y) - positive) / np.maximum(positive, 1)).astype(np.float32))
    counts = np.bincount(rows.y, minlength=count)
    return torch.from_numpy((len(rows.y) / (count * np.maximum(counts, 1))).astype(np.float32))


def build_loss(config: TrainConfig, workload: Workload, weight: torch.Tensor | None) -> Loss:
    """The configured loss. Raises ``ConfigurationError`` for one that does not fit the task."""
    name, smoothing = loss_name(config, workload, weighted=weight is not None), config.label_smoothing
    if name == "task":
        return lambda output, target: workload.loss(output, target, label_smoothing=smoothing)
    if name == "cross_entropy":

        def weighted(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            each = F.cross_entropy(output, target, weight=weight, label_smoothing=smoothing, reduction="sum")
            return each / len(target)

        return weighted
    if name == "bce":

        def binary(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            smoothed = target * (1 - smoothing) + 0.5 * smoothing
            return F.binary_cross_entropy_with_logits(output, smoothed, pos_weight=weight)

        return binary
    if name in ("listwise", "pairwise"):
        return listwise if name == "listwise" else pairwise
    regression = {"mse": nn.MSELoss(), "mae": nn.L1Loss(), "huber": nn.HuberLoss()}[name]

    def distance(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = regression(output.reshape(target.shape), target.to(output.dtype))
        return value

    return distance
