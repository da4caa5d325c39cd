"""`baseline`: the candidate is better than a linear model that was trained on the same rows in the same run."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.baselines import BaselineModel
from mlratchet.models.gates.checks.base import SCORED_GATES, Needs, PolicyContext
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.pairing import Better
from mlratchet.models.gates.pilot import Pilot
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.metrics import Metric
from mlratchet.models.objectives.naming import BUILT_IN
from pydantic import Field


class BaselineCheck(Better):
    """The candidate is better than a model that costs nothing, on the same test rows (paired). The first model, too."""

    gates = SCORED_GATES
    wears = True
    margins = ("margin",)

    kind: Literal["baseline"]
    model: BaselineModel = "linear"
    """`linear`: logistic or ridge regression over the prepared tensors; `bias`: a mean per entity."""
    margin: float = Field(default=0.0, ge=0)
    """Better by more than this, in the metric's unit."""
    compare: Literal["estimate", "interval"] = "interval"
    """`estimate`: the difference itself, without its error, must hold the margin."""

    @property
    def compares(self) -> bool:
        """With no other version: it applies to the first model."""
        return False

    def needs(self) -> Needs:
        """The baseline, trained in this run."""
        return Needs(baselines=(self.model,))

    def validate_in(self, context: PolicyContext, where: str) -> None:
        """An objective that has a linear model."""
        super().validate_in(context, where)
        kind = BUILT_IN.get(context.task)
        if kind is None or not kind.linear_model:
            known = ", ".join(name for name, one in BUILT_IN.items() if one.linear_model)
            raise ConfigurationError(
                f"{where}: there is no {self.model} model for the objective {context.task}; it is for {known}: remove "
                "the check"
            )

    def power_of(self, metric: Metric, pilot: Pilot) -> str:
        """Of the interval alone."""
        return super().power_of(metric, pilot) if self.compare == "interval" else ""

    def judge(self, case: Case) -> CheckResult:
        """Against what the baseline answered about the same rows."""
        found = case.evidence.baselines.get(self.model)
        who = f"{self.model} baseline" + (f", {found.words}" if found is not None else "")
        return self.judge_against(case, found.outputs if found is not None else None, who, self.margin, self.compare)
