"""People with keys, and a version to talk about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.approval.standing import Approvals
from mlratchet.models.approval.statement import Statement, Subject, publish, read
from mlratchet.models.identity.signing import Role, Signer, TrustedKey, TrustedKeys

NOW_S = 1_000_000.0
HOUR_S = 3600.0


@dataclass
class Office:
    """A store with statements in it, and the list of whom to believe."""

    store: MemoryStore
    subject: Subject
    signers: dict[str, Signer] = field(default_factory=dict)
    trusted: TrustedKeys = field(default_factory=TrustedKeys)

    def hire(self, owner: str, role: Role = "approver", **more: Any) -> Signer:
        """A key of `owner` in the list."""
        signer = self.signers.setdefault(owner, Signer.generate())
        line = {
            "id": signer.key_id, "public_key": signer.public_key, "role": role, "owner": owner, "valid_from_s": 0.0
        }  # fmt: skip
        self.trusted = self.trusted.replacing(TrustedKey.model_validate({**line, **more}))
        return signer

    def say(self, approver: str, decision: str = "approve", *, by: str | None = None, **more: Any) -> None:
        """Publish a statement, signed by the key of `by`."""
        parts = {
            "subject": self.subject, "decision": decision, "approver": approver, "reason": "looks right",
            "at_s": NOW_S - 10, "expires_s": NOW_S + HOUR_S, "method": "signature", **more,
        }  # fmt: skip
        publish(self.store, Statement.model_validate(parts), self.signers[by or approver])

    def approvals(self, now_s: float = NOW_S, subject: Subject | None = None) -> Approvals:
        """What the bucket holds."""
        about = subject or self.subject
        statements, damaged = read(self.store, about)
        return Approvals(subject=about, statements=statements, damaged=damaged, trusted=self.trusted, now_s=now_s)


def subject() -> Subject:
    """Version 2, which would replace version 1."""
    return Subject(
        pipeline="digits", gate="champion", version=2, work_key="w" * 64, manifest="m" * 64, policy="p" * 64,
        dataset="d" * 64, champion_version=1,
    )  # fmt: skip


def new_office() -> Office:
    """Three people and the pipeline."""
    made = Office(MemoryStore("store"), subject())
    for owner in ("alice", "bob", "mallory"):
        made.hire(owner)
    made.hire("pipeline", role="pipeline")
    return made


@pytest.fixture
def office() -> Office:
    """A fresh one."""
    return new_office()
