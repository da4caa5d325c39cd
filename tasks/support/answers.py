"""What people said about the version that a gate asks about."""

from __future__ import annotations

import time

from mlratchet.models.approval.standing import Approvals, Standing
from mlratchet.models.approval.statement import Subject
from mlratchet.models.decisions import waiting
from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters, Run


def said_about(adapters: Adapters, subject: Subject) -> Approvals:
    """Every statement in the bucket, with whom to believe and the time: nothing is verified yet."""
    return waiting.said_about(adapters.store, adapters.keys.trusted(), subject, now_s=time.time())


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
    return waiting.standings(adapters.store, adapters.keys.trusted(), request, now_s=time.time())
