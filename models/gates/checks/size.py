"""`size`: how many bytes all files of the artifact have."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.measured import at_most
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class SizeCheck(Check):
    """Size of all files of the artifact."""

    gates = ARTIFACT_GATES
    wears = False

    kind: Literal["size"]
    maximum_megabytes: float = Field(gt=0)
    """1 MB = 1,000,000 bytes."""

    def judge(self, case: Case) -> CheckResult:
        """All files of the artifact."""
        size = None if case.evidence.size_bytes is None else case.evidence.size_bytes / 1e6
        return at_most(self.kind, "size", size, 1, self.maximum_megabytes, " MB")
