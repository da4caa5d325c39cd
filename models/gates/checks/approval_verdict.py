"""The verdict of an `approval` check: the signed statements about this version under this policy."""

from __future__ import annotations

import dataclasses

from mlratchet.models.approval.check import ApprovalCheck
from mlratchet.models.approval.standing import standing
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, unknown


def judge_approval(check: ApprovalCheck, case: Case) -> CheckResult:
    """The statements, verified here, by the clock of the judge."""
    threshold = f"{check.minimum} of {', '.join(check.approvers)} ({check.require})"
    asked = case.evidence.approval
    if asked is None or asked.subject.version != case.evidence.version:
        return unknown(check.kind, "approval", threshold, "nobody was asked about this version")
    if case.policy_digest and asked.subject.policy != case.policy_digest:
        return unknown(check.kind, "approval", threshold, "what was asked was about another policy")
    if case.evidence.dataset_id and asked.subject.dataset != case.evidence.dataset_id:
        return unknown(check.kind, "approval", threshold, "what was asked was about another dataset")
    if case.now_s is not None:
        asked = dataclasses.replace(asked, now_s=case.now_s)
    found = standing(check, asked)
    return CheckResult(
        kind=check.kind,
        metric="approval",
        verdict=found.verdict,
        reason=f"approval: {found.reason}",
        threshold=threshold,
        value=float(len(found.counted)),
        n=len(asked.statements),
        method="signed statements",
    )
