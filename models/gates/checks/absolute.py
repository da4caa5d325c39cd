"""`absolute`: a metric of the candidate against a fixed bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import SCORED_GATES
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.level import Level
from mlratchet.models.gates.checks.statistical import Bounded, OnMetric
from mlratchet.models.gates.result import CheckResult


class AbsoluteCheck(Bounded, OnMetric, Level):
    """A metric of the candidate against a fixed bound. Exactly one of `minimum` and `maximum`."""

    gates = SCORED_GATES
    wears = True
    holds_level = True
    levels = ("minimum", "maximum")

    kind: Literal["absolute"]
    compare: Literal["estimate", "interval"] = "estimate"  # not `on`, which YAML reads as true
    """`interval`: the worse end of the confidence interval must hold the bound."""

    def judge(self, case: Case) -> CheckResult:
        """The estimate, or the worse end of its interval, against the bound."""
        return self.judge_between(case, self.minimum, self.maximum)
