"""Checks that hold a metric of rows against something, with an interval: how they are declared and validated."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import Check, PolicyContext
from mlratchet.models.gates.checks.case import LEAST_TAIL
from mlratchet.models.gates.checks.naming import always_holds, out_of_range
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.metrics import Metric
from pydantic import Field, model_validator


class Statistical(Check):
    """A check that computes an interval of a metric, its `subject`."""

    declarations = (*Check.declarations, "levels", "margins")
    levels: ClassVar[tuple[str, ...]]
    """Its fields that are bounds in the metric's unit, on the side that is better."""
    margins: ClassVar[tuple[str, ...]]
    """Its fields that are differences in the metric's unit."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of a one-sided bound; of the two-sided interval in `absolute` and `calibration`."""
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    """Of a bootstrap."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _enough_resamples(self) -> Statistical:
        needed = LEAST_TAIL / (1 - self.confidence)
        if self.resamples < needed * (1 - 1e-9):
            raise ValueError(
                f"a bound at confidence {self.confidence:g} needs resamples >= {needed:.0f}, got {self.resamples}"
            )
        return self

    @property
    @abstractmethod
    def subject(self) -> str:
        """The metric."""

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Its subject."""
        return (self.subject,)

    @abstractmethod
    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """`power_note`, of the metric."""

    def power_note(self, pilot: Pilot) -> str:
        """Of the metric; a name that is no metric is the validation's to refuse."""
        metric = pilot.metrics.get(self.subject)
        return self.power_of(metric, pilot) if metric is not None else ""

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """A metric of the task, bounds on its better side that can be missed, margins smaller than its span."""
        name = self.subject
        metric = context.metric(name, where)
        levels = {field: bound for field in self.levels if (bound := getattr(self, field)) is not None}
        self._check_direction(metric, levels, where)
        low, high = metric.span
        for field, bound in levels.items():
            if not low <= bound <= high:
                raise out_of_range(where, field, bound, name, metric.span)
            if bound == (low if metric.direction == "higher" else high):
                raise always_holds(where, field, bound, name, metric.span)
        for field in self.margins:
            margin = getattr(self, field)
            if margin is not None and math.isfinite(high - low) and margin >= high - low:
                raise self.refuse_margin(where, field, margin, metric)

    def refuse_margin(self, where: str, field: str, margin: float, metric: Metric) -> ConfigurationError:
        """Of a margin as wide as the metric's span: a loss within it always holds."""
        return always_holds(where, field, margin, metric.name, metric.span, metric.unit)

    def _check_direction(self, metric: Metric, levels: dict[str, float], where: str) -> None:
        wanted = "minimum" if metric.direction == "higher" else "maximum"
        for given in ("minimum", "maximum"):
            if given in levels and given != wanted:
                raise ConfigurationError(
                    f"{where}: direction against the metric: {metric.name} is better when {metric.direction}, "
                    f"got {given}, expected {wanted}"
                )


class OnMetric(Statistical):
    """A statistical check of a metric that the file names."""

    metric: str

    @property
    def subject(self) -> str:
        """The metric."""
        return self.metric


class Bounded(Check):
    """Exactly one of `minimum` and `maximum`: no default direction."""

    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Bounded:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give exactly one of minimum and maximum")
        return self
