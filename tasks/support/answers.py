"""What people said about the version that a gate asks about."""

from __future__ import annotations

import time

from mlratchet.models.approval.standing import Approvals
from mlratchet.models.approval.statement import Subject, read
from mlratchet.tasks.wiring import Adapters


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
