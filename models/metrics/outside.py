"""A metric of the user's: a class of their own module, named where a metric is named as `package.module:Class`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, get_args

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import contained, kept_out, load_function, raised
from mlratchet.models.metrics.away import load_away
from mlratchet.models.metrics.base import Array, Direction, Metric, MetricValue
from mlratchet.models.metrics.rows import RowOutputs

SAYS = ("name", "direction", "unit", "formula", "tasks")


def is_reference(name: str) -> bool:
    """Whether a metric's name names a class."""
    return ":" in name


def load_metric(reference: str, task: str, where: str) -> Metric:
    """A metric of the class; where users' modules are kept out, through a child. Raises ``ConfigurationError`` for what
    is no metric of the task."""
    if kept_out():
        return load_away(reference, task, where)
    try:
        found: Any = contained(lambda: load_function(reference, where, what="class"))
        if not (isinstance(found, type) and issubclass(found, Metric)):
            raise ConfigurationError(f"{where}: {reference}: expected a subclass of {Metric.__module__}.Metric")
        if inspect.isabstract(found):
            raise ConfigurationError(f"{where}: {reference} has no {', '.join(sorted(found.__abstractmethods__))}")
        metric: Metric = contained(found)
    except ConfigurationError:
        raise
    except Exception as error:  # the user's module: what it raises is a mistake in it, told as one
        raise ConfigurationError(f"{where}: {reference}: {raised(error)}") from error
    for name in SAYS:
        if not getattr(metric, name, None):
            raise ConfigurationError(f"{where}: {reference} does not say its {name}")
    if metric.direction not in get_args(Direction):
        raise ConfigurationError(f"{where}: {reference}: direction must be higher or lower, got {metric.direction!r}")
    if task not in metric.tasks:
        raise ConfigurationError(f"{where}: {reference} is for {', '.join(metric.tasks)}, the task is {task}")
    return metric


class AbsentMetric(Metric):
    """A metric that cannot be loaded here: undefined on every row, so that no check of it passes."""

    direction = "higher"
    unit = "?"
    formula = "?"
    tasks = ()

    def __init__(self, reference: str, why: str) -> None:
        self.name, self._why = reference, why

    def estimate(self, rows: RowOutputs) -> MetricValue:
        """None, and why."""
        return MetricValue(value=float("nan"), n=len(rows.ids), reason=self._why)

    def value(self, rows: RowOutputs) -> float:  # noqa: ARG002
        """Never asked: `estimate` has none."""
        raise ConfigurationError(self._why)

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:  # noqa: ARG002
        """Never asked."""
        raise ConfigurationError(self._why)

    def influence(self, rows: RowOutputs) -> Array:  # noqa: ARG002
        """Never asked."""
        raise ConfigurationError(self._why)


def with_references(known: Mapping[str, Metric], names: Iterable[str], task: str) -> dict[str, Metric]:
    """The known metrics, and those of the names that are references; one that cannot be loaded is never defined."""
    found = dict(known)
    for name in dict.fromkeys(one for one in names if is_reference(one)):
        try:
            found[name] = load_metric(name, task, "metric")
        except ConfigurationError as error:
            found[name] = AbsentMetric(name, str(error))
    return found


def estimates(names: Iterable[str], rows: RowOutputs, task: str) -> dict[str, MetricValue]:
    """The values of metrics by reference, for showing; NaN with a reason where one cannot be loaded or fails."""
    found: dict[str, MetricValue] = {}
    for name, metric in with_references({}, names, task).items():
        try:
            found[name] = contained(partial(metric.estimate, rows))
        except Exception as error:  # noqa: BLE001 - the user's code: its checks find no evidence, the run goes on
            reason = f"{name} raised {raised(error)}"
            found[name] = MetricValue(value=float("nan"), n=len(rows.ids), reason=reason)
    return found
