"""A decision that claims an approval holds only with the statement that the approver's own key signed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from mlratchet.models.approval.standing import never
from mlratchet.models.decisions.approval_proof import verify_statements
from mlratchet.models.decisions.approval_request import ApprovalRequest, list_requests, publish_request, read_request
from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.judge_again import publish_policy, verdict_on
from mlratchet.models.decisions.stored_evidence import Basis, freeze
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.evidence import Evidence
from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.signing import Signer, TrustedKeys

from tests.unit.approval.conftest import HOUR_S, NOW_S, Office, subject

RULE = {"kind": "absolute", "metric": "accuracy", "minimum": 0.5}
POLICY = GatePolicy.model_validate(
    {
        "data": [{"kind": "data", "measure": "rows", "minimum": 10.0}],
        "candidate": [RULE],
        "staging": [{"kind": "latency", "maximum_milliseconds": 50.0}],
        "champion": [{"kind": "approval", "approvers": ["alice", "bob"]}],
    }
)


@pytest.fixture
def office(office: Office) -> Office:
    """The subject is about the policy above."""
    return dataclasses.replace(office, subject=subject().model_copy(update={"policy": POLICY.digest()}))


def decided(office: Office, trusted: TrustedKeys | None = None, **more: Any) -> dict[str, Any]:
    """A champion gate's decision as tasks/steps/gate.py builds it."""
    about = office.subject
    approvals = dataclasses.replace(office.approvals(), trusted=trusted or office.trusted)
    evidence = Evidence(version=about.version, dataset_id=about.dataset, approval=approvals)
    basis = Basis(gate="champion", first_model=False, task="regression", class_names=(), now_s=NOW_S)
    return build_decision(
        about.pipeline, "champion", verdict_on(POLICY, evidence, basis), version=about.version,
        work_key=about.work_key, champion_version=about.champion_version, actor="ada", now_s=NOW_S, run_id="r",
        digests={
            "policy": publish_policy(office.store, POLICY), "evidence": freeze(office.store, evidence, basis),
            "dataset": about.dataset, "manifest": about.manifest,
        },
    ) | more  # fmt: skip


def verify(office: Office, decision: dict[str, Any]) -> None:
    verify_statements(office.store, decision, office.trusted, never)


def test_a_genuine_approval_holds(office: Office) -> None:
    office.say("alice")
    decision = decided(office)
    assert decision["verdict"] == "pass"
    verify(office, decision)


def test_the_list_of_keys_that_was_frozen_with_the_evidence_is_not_believed(office: Office) -> None:
    """Who holds the pipeline's key alone signs as alice with a key of his own, and freezes a list that trusts it."""
    thief = Signer.generate()
    key = next(iter(office.trusted)).model_copy(
        update={"id": thief.key_id, "public_key": thief.public_key, "owner": "alice", "role": "approver"}
    )
    forged = dataclasses.replace(office, signers={**office.signers, "alice": thief})
    forged.say("alice")
    decision = decided(office, trusted=office.trusted.replacing(key))
    assert decision["verdict"] == "pass"
    with pytest.raises(SecurityError, match="not in the trusted list"):
        verify(office, decision)


def test_a_verdict_that_nobody_signed_for_does_not_hold(office: Office) -> None:
    with pytest.raises(SecurityError, match="waits for 1 of alice, bob"):
        verify(office, decided(office, verdict="pass"))


@pytest.mark.parametrize("field", ["version", "work_key", "champion_version", "gate", "pipeline"])
def test_an_approval_of_something_else_does_not_hold(office: Office, field: str) -> None:
    office.say("alice")
    other = {"version": 9, "champion_version": 9, "gate": "staging"}.get(field, "other")
    with pytest.raises(SecurityError):
        verify(office, decided(office, **{field: other}))


def test_a_revoked_approver_needs_an_anchor(office: Office) -> None:
    office.say("alice")
    decision = decided(office)
    office.hire("alice", revoked_s=NOW_S + HOUR_S, reason="stolen")
    with pytest.raises(SecurityError, match="nothing shows"):
        verify(office, decision)
    verify_statements(office.store, decision, office.trusted, lambda key_id: key_id == office.signers["alice"].key_id)


def test_a_decision_of_a_policy_that_asks_nobody_needs_no_statement(office: Office) -> None:
    verify(office, decided(office) | {"gate": "candidate", "checks": []})


def test_a_decision_that_leaves_out_the_approval_of_its_policy_does_not_hold(office: Office) -> None:
    with pytest.raises(SecurityError, match="waits for 1 of alice, bob"):
        verify(office, decided(office) | {"checks": []})


def asked(office: Office, **more: Any) -> ApprovalRequest:
    return ApprovalRequest.model_validate(
        {
            "subject": office.subject, "policy": POLICY.model_dump(mode="json", exclude={"policy"}),
            "decision": "d" * 64, "asked_by": "ada", "run_id": "r", "at_s": NOW_S, **more,
        }
    )  # fmt: skip


def test_the_first_request_about_a_subject_stands(office: Office) -> None:
    first = publish_request(office.store, asked(office))
    assert publish_request(office.store, asked(office, run_id="later")) == first
    assert list_requests(office.store, "digits") == [first]
    assert list_requests(office.store, "other") == []
    assert [check.approvers for check in first.checks()] == [("alice", "bob")]


def test_a_request_with_another_policy_or_in_another_place_is_refused(office: Office) -> None:
    weaker = POLICY.model_copy(update={"champion": POLICY.candidate})
    with pytest.raises(SecurityError, match="its policy is"):
        asked(office, policy=weaker.model_dump(mode="json", exclude={"policy"})).checks()
    request = publish_request(office.store, asked(office))
    elsewhere = request.key.replace("digits", "other")
    office.store.create(elsewhere, office.store.get(request.key))
    with pytest.raises(SecurityError, match="it belongs at"):
        read_request(office.store, elsewhere)
    office.store.put(request.key, b"{}")
    with pytest.raises(SecurityError, match="not a request"):
        read_request(office.store, request.key)
