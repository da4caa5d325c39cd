"""Whoever had to agree did, by the auditor's own list of keys and not by the one that the gate held."""

from __future__ import annotations

import pytest
from mlratchet.infra.keys.files import public_half
from mlratchet.models.approval.standing import Approvals
from mlratchet.models.approval.statement import SignedStatement, Statement, Subject, parse, sign
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.signing import Signer, TrustedKey, TrustedKeys
from mlratchet.models.registration.record import Registration

from tests.unit.audit.conftest import DAY, POLICY, World

APPROVAL = {"kind": "approval", "approvers": ["grace"]}


@pytest.fixture
def grace(world: World) -> Signer:
    """Version 4 was promoted with her approval."""
    signer = Signer.generate()
    document = POLICY.model_dump(mode="json")
    world.policy = GatePolicy.model_validate({**document, "champion": [*document["champion"], APPROVAL]})
    world.change_trust([*world.keys.trusted(), public_half(signer, "approver", "grace")])

    def approve(record: Registration, champion: int | None) -> Approvals:
        subject = Subject(
            pipeline="digits", gate="champion", version=record.version, work_key=record.work_key,
            manifest=record.manifest_digest, policy=world.policy.digest(), dataset="d", champion_version=champion,
        )  # fmt: skip
        statement = Statement(
            subject=subject, decision="approve", approver="grace", reason="looked at it", at_s=world.now_s,
            expires_s=world.now_s + DAY, method="signature",
        )  # fmt: skip
        signed: SignedStatement = parse("k", sign(statement, signer))
        return Approvals(subject=subject, statements=(signed,), trusted=world.keys.trusted(), now_s=world.now_s)

    world.approve = approve
    world.promote(4)
    return signer


def without(world: World, key_id: str) -> list[TrustedKey]:
    return [key for key in world.keys.trusted() if key.id != key_id]


def test_an_approval_is_verified_with_the_gate_that_asked_for_it(world: World, grace: Signer) -> None:
    report = world.audit(replay=True)
    assert report.passed, report.line()


def test_an_approver_whom_the_auditor_does_not_know_did_not_approve(world: World, grace: Signer) -> None:
    line = world.audit(trusted=TrustedKeys(without(world, grace.key_id))).line()
    assert "champion decision about version 4: its approval does not hold" in line
    assert "not in the trusted list" in line


def test_an_approval_from_before_the_revocation_stays_one(world: World, grace: Signer) -> None:
    """The ledger entry, by the pipeline's key, shows that it is older."""
    held = public_half(grace, "approver", "grace")
    for days, passes in ((1.0, True), (-1.0, False)):
        key = held.model_copy(update={"revoked_s": world.now_s + days * DAY, "reason": "left"})
        assert world.audit(trusted=TrustedKeys([*without(world, grace.key_id), key])).passed == passes
