"""`superiority`: the candidate is better than the champion."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.checks.base import SCORED_GATES
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.pairing import Paired
from mlratchet.models.gates.pilot import Pilot, margin_note
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.metrics import Metric
from pydantic import Field


class SuperiorityCheck(Paired):
    """The candidate is better than the champion on the same rows (paired)."""

    gates = SCORED_GATES
    wears = True
    paired = True
    margins = ("margin",)

    kind: Literal["superiority"]
    margin: float = Field(default=0.0, ge=0)
    """Better by more than this, in the metric's unit."""

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Which gain the rows can show."""
        return margin_note(metric, self.margin, pilot, confidence=self.confidence, gain=True)

    def refuse_margin(self, where: str, field: str, margin: float, metric: Metric) -> ConfigurationError:
        """A gain as wide as the metric's span cannot be had."""
        low, high = metric.span
        return ConfigurationError(
            f"{where}: {field} {margin:g} never holds: {metric.name} is {low:g} to {high:g}; lower it"
        )

    def judge(self, case: Case) -> CheckResult:
        """Against the champion, scored now on the same rows."""
        return self.judge_against_champion(case, self.margin)
