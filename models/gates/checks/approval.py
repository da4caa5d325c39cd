"""`approval`: the signed statements of people about this version under this policy."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mlratchet.models.approval.rule import ApprovalRule
from mlratchet.models.approval.standing import standing
from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, unknown


class ApprovalCheck(ApprovalRule, Check):
    """Waits for `minimum` of `approvers`; a rejection by one of them fails."""

    gates = ARTIFACT_GATES
    wears = False

    kind: Literal["approval"]

    def judge(self, case: Case) -> CheckResult:
        """The statements, verified here, by the clock of the judge."""
        threshold = f"{self.minimum} of {', '.join(self.approvers)} ({self.require})"
        asked = case.evidence.approval
        if asked is None or asked.subject.version != case.evidence.version:
            return unknown(self.kind, "approval", threshold, "nobody was asked about this version")
        if case.policy_digest and asked.subject.policy != case.policy_digest:
            return unknown(self.kind, "approval", threshold, "what was asked was about another policy")
        if case.evidence.dataset_id and asked.subject.dataset != case.evidence.dataset_id:
            return unknown(self.kind, "approval", threshold, "what was asked was about another dataset")
        if case.now_s is not None:
            asked = dataclasses.replace(asked, now_s=case.now_s)
        found = standing(self, asked)
        return CheckResult(
            kind=self.kind,
            metric="approval",
            verdict=found.verdict,
            reason=f"approval: {found.reason}",
            threshold=threshold,
            value=float(len(found.counted)),
            n=len(asked.statements),
            method="signed statements",
        )
