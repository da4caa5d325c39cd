"""`calibration`: how well the candidate's probabilities fit what happens, against a fixed bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.level import Level
from mlratchet.models.gates.result import CheckResult


class CalibrationCheck(Level):
    """How well the candidate's probabilities fit what happens; all measures are better when lower."""

    gates = SCORED_GATES
    wears = True
    levels = ("maximum",)

    kind: Literal["calibration"]
    measure: Literal["ece", "brier", "log_loss"]
    maximum: float
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper end of the confidence interval must hold the bound."""

    @property
    def subject(self) -> str:
        """The measure."""
        return self.measure

    def judge(self, case: Case) -> CheckResult:
        """The measure, or the upper end of its interval, against the maximum."""
        return self.judge_between(case, None, self.maximum)
