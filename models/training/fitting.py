"""Which settings of a training fit which objective."""

from __future__ import annotations

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.workloads.base import Workload


def loss_name(config: TrainConfig, workload: Workload, *, weighted: bool) -> str:
    """`task` for the workload's own, without weights. Raises ``ConfigurationError`` for one that does not fit."""
    objective = workload.objective
    if config.loss == "task":
        return objective.class_loss if weighted else "task"
    fitting = objective.named_losses(weight=None, label_smoothing=0.0)
    if config.loss not in fitting:
        raise ConfigurationError(
            f"train.loss: {config.loss} does not fit a {objective.name}; there are: {', '.join(['task', *fitting])}"
        )
    return config.loss


def check_fits(config: TrainConfig, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for what could never train, before anything does."""
    loss_name(config, workload, weighted=False)
    stopping, objective = config.early_stopping, workload.objective
    known = metrics_for(workload.task, workload.class_names())
    if stopping is not None and stopping.metric != "loss" and stopping.metric not in known:
        raise ConfigurationError(
            f"train.early_stopping.metric: unknown metric {stopping.metric!r}; there are: loss, {', '.join(known)}"
        )
    for name, given in (
        ("class_weights", config.class_weights is not None),
        ("label_smoothing", config.label_smoothing),
    ):
        if given and not objective.class_loss:
            raise ConfigurationError(f"train.{name}: a {objective.name} has no classes; remove it")
    if config.class_weights is not None and config.loss == "task" and workload.has_own_loss:
        raise ConfigurationError(
            f"train.class_weights: {type(workload).__name__} has a loss of its own, which takes no weights; "
            f"remove them, or write train.loss: {objective.class_loss}"
        )
    if isinstance(config.class_weights, tuple) and len(config.class_weights) != len(workload.class_names()):
        raise ConfigurationError(
            f"train.class_weights: got {len(config.class_weights)} weights for {len(workload.class_names())} classes"
        )
