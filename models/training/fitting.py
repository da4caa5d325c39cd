"""Which settings of a training fit which task."""

from __future__ import annotations

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.metrics import metrics_for
from mlratchet.models.objectives.base import Task
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.workloads.base import Workload

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


def loss_name(config: TrainConfig, workload: Workload, *, weighted: bool) -> str:
    """`task` for the workload's own, without weights. Raises ``ConfigurationError`` for one that does not fit."""
    name: str = config.loss
    if name == "task":
        return WITH_CLASSES[workload.task] if weighted else name
    if workload.task != FITTING[name]:
        fitting = ", ".join(n for n, task in FITTING.items() if workload.task == task)
        raise ConfigurationError(f"train.loss: {name} does not fit a {workload.task}; there are: task, {fitting}")
    return name


def check_fits(config: TrainConfig, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for what could never train, before anything does."""
    loss_name(config, workload, weighted=False)
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
