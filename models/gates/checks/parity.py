"""`parity`: the exported program answers as the trained model does."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.measured import at_most
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class ParityCheck(Check):
    """Largest absolute difference between exported and eager outputs on test rows, in a clean process."""

    gates = ARTIFACT_GATES
    wears = False

    kind: Literal["parity"]
    maximum_difference: float = Field(gt=0)

    def judge(self, case: Case) -> CheckResult:
        """The largest difference over the sample."""
        measured, n = case.evidence.parity_max_difference, case.evidence.parity_n
        return at_most(self.kind, "parity", measured, n, self.maximum_difference, "")
