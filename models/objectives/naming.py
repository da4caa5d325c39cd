"""Find an objective by what a workload or a stored record calls it.

A user's own is only ever imported from what is installed, or lies where Ratchet runs; never from an artifact.
"""

from __future__ import annotations

from functools import cache

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import kept_out, load_class
from mlratchet.models.metrics.base import Metric, MetricValue
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.objectives.away import ObjectiveAway
from mlratchet.models.objectives.base import Objective, Task
from mlratchet.models.objectives.classification import Classification
from mlratchet.models.objectives.multi_label import MultiLabel
from mlratchet.models.objectives.ranking import Ranking
from mlratchet.models.objectives.regression import Regression

BUILT_IN: dict[str, type[Objective]] = {kind.name: kind for kind in (Classification, MultiLabel, Regression, Ranking)}


def objective_of(task: Task) -> Objective:
    """The objective; a user's own, where users' modules are kept out, through a child. Raises ``ConfigurationError``
    with the nearest name for one that is not there."""
    return _away(task) if kept_out() and isinstance(task, str) and ":" in task else _here(task)


@cache
def _away(task: str) -> Objective:
    return ObjectiveAway(task)


@cache
def _here(task: Task) -> Objective:
    kind = task if isinstance(task, type) else BUILT_IN.get(task) or _imported(task)
    missing = sorted(getattr(kind, "__abstractmethods__", ()))
    if missing:
        raise ConfigurationError(f"objective {kind.__name__} lacks {', '.join(missing)}; write them in the class")
    if not getattr(kind, "name", ""):
        raise ConfigurationError(f"objective {kind.__name__} has no name; write name = ... in the class")
    if kind.__module__ == "__main__" or "." in kind.__qualname__:
        raise ConfigurationError(
            f"objective {kind.__qualname__} of {kind.__module__} cannot be imported by the server that answers with "
            "it; write it at the top of a module of its own"
        )
    return kind()


def _imported(reference: str) -> type[Objective]:
    if ":" not in reference:
        there = f"there are {', '.join(BUILT_IN)}, or package.module:Class"
        hint = nearest_hint(reference, BUILT_IN, otherwise=there)
        raise ConfigurationError(f"unknown task {reference!r}; {hint}")
    return load_class(reference, Objective, "objective")  # type: ignore[type-abstract]  # checked by the caller


def learns_one_cell(task: Task) -> bool:
    """Whether the label of a row is one class or one number, to be read out of one column. Of a user's own nobody
    knows."""
    return isinstance(task, str) and BUILT_IN.get(task) in (Classification, Regression)


def metrics_for(task: Task, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Every metric of a task, by name. Raises ``ConfigurationError`` as `objective_of`."""
    return {metric.name: metric for metric in objective_of(task).metrics(class_names)}


def metrics_over(task: Task, class_names: tuple[str, ...]) -> dict[str, Metric]:
    """Every metric over some of a task's classes or labels, by name."""
    return {metric.name: metric for metric in objective_of(task).metrics_over(class_names)}


def compute_metrics(rows: RowOutputs, task: Task, class_names: tuple[str, ...]) -> dict[str, MetricValue]:
    """All metrics of the task over the rows."""
    return {name: metric.estimate(rows) for name, metric in metrics_for(task, class_names).items()}
