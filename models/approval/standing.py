"""Do the people who must agree agree? A pure function of the signed statements, whom to believe, and the clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from mlratchet.models.approval.rule import ApprovalRule
from mlratchet.models.approval.statement import SignedStatement, Subject
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.signing import Anchored, TrustedKeys
from mlratchet.models.moments import utc

CLOCK_SKEW_S = 300.0  # a statement may be this far in the future


@dataclass(frozen=True, kw_only=True, eq=False)
class Approvals:
    """Evidence for an `approval` check: documents, not conclusions."""

    subject: Subject
    statements: Sequence[SignedStatement] = ()
    damaged: Sequence[str] = ()  # objects beside them that are no statements, a line each
    trusted: TrustedKeys = field(default_factory=TrustedKeys)
    now_s: float  # seconds since the epoch


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where an approval stands."""

    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str
    counted: tuple[SignedStatement, ...] = ()
    ignored: tuple[str, ...] = ()  # why each other one does not count


def never(_key_id: str) -> bool:
    """Nothing shows that a revoked key's signature is old: so it is while a verdict is made."""
    return False


def standing(rule: ApprovalRule, approvals: Approvals, *, anchored: Callable[[str], Anchored] = never) -> Standing:
    """Every statement verified: signature, key, subject, approver, expiry. The newest of each approver counts.

    One rejection fails; `minimum` approvals pass; else inconclusive. `anchored`: see `TrustedKeys.verify`.
    """
    newest: dict[str, SignedStatement] = {}
    ignored = list(approvals.damaged)
    for one in sorted(approvals.statements, key=_order):
        problem = refusal(rule, approvals, one, anchored)
        if problem:
            ignored.append(problem)
        else:
            newest[one.statement.approver] = one
    counted = tuple(newest.values())
    rejections = [one for one in counted if one.statement.decision == "reject"]
    if rejections:
        return Standing(verdict="fail", reason=_words(rejections), counted=counted, ignored=tuple(ignored))
    if len(counted) >= rule.minimum:
        return Standing(verdict="pass", reason=_words(counted), counted=counted, ignored=tuple(ignored))
    missing = [name for name in rule.approvers if name not in newest]
    said = f"{_words(counted)}; " if counted else ""
    reason = f"{said}waits for {rule.minimum - len(counted)} of {', '.join(missing)}"
    if ignored:
        reason += f" (not counted: {'; '.join(ignored)})"
    return Standing(verdict="inconclusive", reason=reason, counted=counted, ignored=tuple(ignored))


def _order(one: SignedStatement) -> tuple[float, bool, str]:
    """By time; of two at the same moment the rejection is the later one."""
    return one.statement.at_s, one.statement.decision == "reject", one.key


def refusal(
    rule: ApprovalRule, approvals: Approvals, one: SignedStatement, anchored: Callable[[str], Anchored] = never
) -> str:
    """Why a statement does not count; "" when it does."""
    statement, now_s = one.statement, approvals.now_s
    who = f"{statement.decision} by {statement.approver}"
    if statement.subject != approvals.subject:
        return f"{who}: about something else ({', '.join(_differences(statement.subject, approvals.subject))})"
    if statement.approver not in rule.approvers:
        return f"{who}: not one of the approvers {', '.join(rule.approvers)}"
    try:
        key = approvals.trusted.verify(
            one.signature,
            statement.body(),
            purpose="approval",
            role="approver" if statement.method == "signature" else "pipeline",
            at_s=statement.at_s,
            what=who,
            anchored=anchored(one.signature.key_id),
        )
    except SecurityError as error:
        return str(error)
    if statement.method == "signature" and key.owner != statement.approver:
        return f"{who}: signed by the key of {key.owner}"
    if statement.at_s > now_s + CLOCK_SKEW_S:
        return f"{who}: dated {utc(statement.at_s)}, which is in the future"
    if statement.decision == "reject":
        return ""  # saying no asks for less than saying yes
    if statement.method == "prefect-ui" and rule.require == "signature":
        return f"{who}: a form is not enough, the policy requires a signature (`ratchet approve`)"
    ends_s = min(statement.expires_s, statement.at_s + rule.expires_after_hours * 3600)
    if now_s >= ends_s:
        return f"{who}: expired {utc(ends_s)}"
    return ""


def _differences(theirs: Subject, ours: Subject) -> list[str]:
    a, b = theirs.model_dump(), ours.model_dump()
    return [f"{name} {str(a[name])[:12]}, not {str(b[name])[:12]}" for name in a if a[name] != b[name]]


def _words(statements: Sequence[SignedStatement]) -> str:
    verbs = {"approve": "approved", "reject": "rejected"}
    return "; ".join(
        f"{verbs[one.statement.decision]} by {one.statement.approver}: {one.statement.reason} "
        f"({one.statement.method}, key {one.signature.key_id}, {utc(one.statement.at_s)})"
        for one in statements
    )


def counted_digest(standings: Sequence[Standing]) -> str:
    """Of the statements that count; a verdict depends on it. It changes when one of them expires."""
    counted = sorted({one.digest for found in standings for one in found.counted})
    return digest(counted) if counted else "none"
