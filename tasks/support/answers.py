"""What people said about the version that a gate asks about."""

from __future__ import annotations

import time

from mlratchet.models.approval.standing import Approvals, Standing, standing
from mlratchet.models.approval.statement import Subject, read
from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters, Run


def said_about(adapters: Adapters, subject: Subject) -> Approvals:
    """Every statement in the bucket, with whom to believe and the time: nothing is verified yet."""
    statements, damaged = read(adapters.store, subject)
    return Approvals(
        subject=subject,
        statements=statements,
        damaged=damaged,
        trusted=adapters.keys.trusted(),
        now_s=time.time(),
    )


def subject_of(run: Run, work: Work, gate: str, version: int, manifest: str) -> Subject:
    """What is to be approved at a gate."""
    return Subject(
        pipeline=run.spec.name,
        gate=gate,
        version=version,
        work_key=work.key,
        manifest=manifest,
        policy=run.spec.policy_digest(),
        dataset=work.dataset_id,
        champion_version=work.champion.version if work.champion else None,
    )


def standings(adapters: Adapters, request: ApprovalRequest) -> tuple[Standing, ...]:
    """Where each approval check of the gate stands now."""
    approvals = said_about(adapters, request.subject)
    return tuple(standing(check, approvals) for check in request.checks())


def is_settled(found: tuple[Standing, ...]) -> bool:
    """Nothing is left to wait for: all agreed, or somebody rejected."""
    verdicts = {one.verdict for one in found}
    return "fail" in verdicts or verdicts == {"pass"}
