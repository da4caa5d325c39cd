"""`superiority`: the candidate is better than the champion."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.pairing import Better
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class SuperiorityCheck(Better):
    """The candidate is better than the champion on the same rows (paired)."""

    gates = SCORED_GATES
    wears = True
    paired = True
    margins = ("margin",)

    kind: Literal["superiority"]
    margin: float = Field(default=0.0, ge=0)
    """Better by more than this, in the metric's unit."""

    def judge(self, case: Case) -> CheckResult:
        """Against the champion, scored now on the same rows."""
        return self.judge_against_champion(case, self.margin)
