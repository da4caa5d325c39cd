"""`non_inferiority`: the candidate is not much worse than the champion."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.pairing import Paired
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class NonInferiorityCheck(Paired):
    """The candidate is at most `margin` worse than the champion, re-scored now on the same rows (paired)."""

    gates = SCORED_GATES
    wears = True
    paired = True
    margins = ("margin",)

    kind: Literal["non_inferiority"]
    margin: float = Field(gt=0)
    """In the metric's unit."""

    @property
    def allowed_loss(self) -> float:
        """The margin, at every promotion."""
        return self.margin

    def judge(self, case: Case) -> CheckResult:
        """Against the champion, scored now on the same rows."""
        return self.judge_against_champion(case, 0.0 - self.margin)
