"""`budget`: what the training cost."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, against_bound, unknown
from pydantic import Field, model_validator


class BudgetCheck(Check):
    """The cost of the training. Exactly one bound."""

    gates = SCORED_GATES
    wears = False

    kind: Literal["budget"]
    maximum_seconds: float | None = Field(default=None, gt=0)
    """Wall time of the training, all attempts."""
    maximum_core_seconds: float | None = Field(default=None, gt=0)
    maximum_gpu_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_bound(self) -> BudgetCheck:
        bounds = (self.maximum_seconds, self.maximum_core_seconds, self.maximum_gpu_seconds)
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError("give exactly one of maximum_seconds, maximum_core_seconds and maximum_gpu_seconds")
        return self

    def judge(self, case: Case) -> CheckResult:
        """The recorded cost against the bound."""
        bounds = (
            ("train_seconds", self.maximum_seconds),
            ("core_seconds", self.maximum_core_seconds),
            ("gpu_seconds", self.maximum_gpu_seconds),
        )
        name, maximum = next((name, bound) for name, bound in bounds if bound is not None)
        value = case.evidence.cost.get(name)
        if value is not None and value < 0:
            return unknown(self.kind, name, f"<= {maximum:g} s", f"measured {value:g} s: not a cost")
        return against_bound(self.kind, name, value, 1, maximum=maximum, unit=" s")
