"""`latency`: how long the exact artifact takes to answer."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.checks.measured import at_most
from mlratchet.models.gates.result import CheckResult
from pydantic import Field


class LatencyCheck(Check):
    """Time of one forward of one row of the exported artifact, in a clean process; in probation, of one request."""

    gates = (*ARTIFACT_GATES, "probation")
    wears = False

    kind: Literal["latency"]
    quantile: Literal["p50", "p95", "p99"] = "p95"
    maximum_milliseconds: float = Field(gt=0)

    def judge(self, case: Case) -> CheckResult:
        """A quantile of the forward of one row; in probation, of the live requests."""
        evidence = case.evidence
        times, n = evidence.latency_ms, evidence.latency_n
        if case.gate == "probation":
            times, n = (evidence.live.latency_ms, evidence.live.n) if evidence.live else ({}, 0)
        value = times.get(self.quantile)
        return at_most(self.kind, f"latency_{self.quantile}", value, n, self.maximum_milliseconds, " ms")
