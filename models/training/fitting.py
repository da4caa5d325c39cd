"""Which settings of a training fit which objective."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.tensors.spec import check_specs
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


MOST_CHARACTERS = 200  # of a name: MLflow takes 250 for a metric's key, `test_average_precision_class_` and the name


def check_names(workload: Workload) -> None:
    """Raises ``ConfigurationError`` for names of classes, labels or columns under which nothing can be recorded, and of
    tensors that no `forward` could take."""
    try:
        check_specs(workload.tensors())
    except ValueError as error:
        raise ConfigurationError(f"workload: {error}") from error
    for what, names in (("class", workload.class_names()), ("column", workload.input_spec().columns)):
        for name in names:
            if not isinstance(name, str) or not name.strip():
                raise ConfigurationError(f"workload: {what} {name!r} is no name; write a text that is not empty")
            if len(name) > MOST_CHARACTERS:
                raise ConfigurationError(
                    f"workload: {what} {name[:40]!r}... has {len(name)} characters, expected at most "
                    f"{MOST_CHARACTERS}: its metrics could not be recorded; give it a shorter name"
                )
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigurationError(f"workload: {what} {twice!r} is there twice; name each once")


def check_fits(config: TrainConfig, workload: Workload) -> None:
    """Raises ``ConfigurationError`` for what could never train, before anything does, a line per mistake."""
    problems = [*misfits(config, workload)]
    if problems:
        raise ConfigurationError("\n".join(problems))


def misfits(config: TrainConfig, workload: Workload) -> Iterator[str]:
    """Every mistake, as ``key: problem``."""
    for check in (partial(check_names, workload), partial(loss_name, config, workload, weighted=False)):
        try:
            check()
        except ConfigurationError as error:
            yield str(error)
    stopping, objective = config.early_stopping, workload.objective
    known = metrics_for(workload.task, workload.class_names())
    if stopping is not None and stopping.metric != "loss" and stopping.metric not in known:
        yield f"train.early_stopping.metric: unknown metric {stopping.metric!r}; there are: loss, {', '.join(known)}"
    for name, given in (
        ("class_weights", config.class_weights is not None),
        ("label_smoothing", config.label_smoothing),
    ):
        if given and not objective.class_loss:
            yield f"train.{name}: a {objective.name} has no classes; remove it"
    if config.class_weights is not None and config.loss == "task" and workload.has_own_loss:
        yield (
            f"train.class_weights: {type(workload).__name__} has a loss of its own, which takes no weights; "
            f"remove them, or write train.loss: {objective.class_loss}"
        )
    if isinstance(config.class_weights, tuple) and len(config.class_weights) != len(workload.class_names()):
        yield f"train.class_weights: got {len(config.class_weights)} weights for {len(workload.class_names())} classes"
