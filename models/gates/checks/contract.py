"""`contract`: the exact artifact answers requests as its signature says."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field


class ContractCheck(Check):
    """Replayed requests: the signature, the example and what was asked before; in probation, what is asked now."""

    gates = (*ARTIFACT_GATES, "probation")
    wears = False

    kind: Literal["contract"]
    minimum_requests: int = Field(default=1, ge=1)
    """Fewer replayed requests are inconclusive."""

    def judge(self, case: Case) -> CheckResult:
        """Every replayed request was answered as the signature says."""
        replay = case.evidence.live if case.gate == "probation" else case.evidence.contract
        threshold = f"0 failures in >= {self.minimum_requests} requests"
        if replay is None:
            return unknown(self.kind, "contract", threshold, "no requests were replayed")
        if replay.failures:
            more = f" and {len(replay.failures) - 1} more" if len(replay.failures) > 1 else ""
            reason = f"{len(replay.failures)} of {replay.n} requests failed: {replay.failures[0]}{more}"
        elif replay.n < self.minimum_requests:
            return unknown(self.kind, "contract", threshold, f"{replay.n} requests replayed", max(replay.n, 0))
        else:
            reason = f"all {replay.n} requests were answered as the signature says"
        return CheckResult(
            kind=self.kind,
            metric="contract",
            verdict="fail" if replay.failures else "pass",
            reason=f"contract: {reason}",
            threshold=threshold,
            value=float(len(replay.failures)),
            n=max(replay.n, 0),
            method="replayed",
        )
