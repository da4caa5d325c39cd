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
from mlratchet.models.workloads.base import Task, Workload
from mlratchet.models.workloads.ranking import listwise, pairwise
from torch import nn
from torch.nn import functional as F

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (output, target) -> scalar
FITTING: dict[str, Task] = {
    "cross_entropy": "classification",
    "bce": "multi_label",
    "mse": "regression",
    "mae": "regression",
    "huber": "regression",
    "listwise": "ranking",
    "pairwise": "ranking",
}
WITH_CLASSES = {"classification": "cross_entropy", "multi_label": "bce"}  # task -> the loss that takes weights


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


def check_fits(config: TrainConfig, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for what could never train, before anything does."""
    build_loss(config, workload, None)
    stopping = config.early_stopping
    known = metrics_for(workload.task, workload.class_names())
    if stopping is not None and stopping.metric != "loss" and stopping.metric not in known:
        raise ConfigurationError(
            f"train.early_stopping.metric: unknown metric {stopping.metric!r}; there are: loss, {', '.join(known)}"
        )
    for name, given in (
        ("class_weights", config.class_weights is not None),
        ("label_smoothing", config.label_smoothing),
    ):
        if given and workload.task not in WITH_CLASSES:
            raise ConfigurationError(f"train.{name}: a {workload.task} has no classes; remove it")
    if config.class_weights is not None and config.loss == "task" and type(workload).loss is not Workload.loss:
        raise ConfigurationError(
            f"train.class_weights: {type(workload).__name__} has a loss of its own, which takes no weights; "
            f"remove them, or write train.loss: {WITH_CLASSES[workload.task]}"
        )
    if isinstance(config.class_weights, tuple) and len(config.class_weights) != len(workload.class_names()):
        raise ConfigurationError(
            f"train.class_weights: got {len(config.class_weights)} weights for {len(workload.class_names())} classes"
        )


def build_loss(config: TrainConfig, workload: Workload, weight: torch.Tensor | None) -> Loss:
    """The configured loss. Raises ``ConfigurationError`` for one that does not fit the task."""
    name: str = config.loss
    smoothing = config.label_smoothing
    if name == "task":
        if weight is None:
            return lambda output, target: workload.loss(output, target, label_smoothing=smoothing)
        name = WITH_CLASSES[workload.task]
    if workload.task != FITTING[name]:
        fitting = ", ".join(n for n, task in FITTING.items() if workload.task == task)
        raise ConfigurationError(f"train.loss: {name} does not fit a {workload.task}; there are: task, {fitting}")
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
