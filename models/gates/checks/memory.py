"""`memory`: how much memory the process that serves the artifact takes."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.measured import at_most
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class MemoryCheck(Check):
    """Peak resident set of the clean process that loads the artifact and answers."""

    gates = ARTIFACT_GATES
    wears = False

    kind: Literal["memory"]
    maximum_megabytes: float = Field(gt=0)
    """1 MB = 1,000,000 bytes."""

    def judge(self, case: Case) -> CheckResult:
        """Peak of the clean process."""
        return at_most(self.kind, "memory", case.evidence.memory_mb, 1, self.maximum_megabytes, " MB")
