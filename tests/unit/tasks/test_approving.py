"""What an approver reads before answering is what the gate signed."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.models.decisions.approval_request import ApprovalRequest
from mlratchet.models.decisions.signature import decision_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.tasks.actions.approving import verify_request

from tests.unit.audit.conftest import POLICY, World


def asked(world: World, decision: str, **more: Any) -> ApprovalRequest:
    record = world.records[4]
    subject = {
        "pipeline": "digits", "gate": "champion", "version": 4, "work_key": record.work_key, "dataset": "d",
        "manifest": record.manifest_digest, "policy": POLICY.digest(), "champion_version": 3,
    }  # fmt: skip
    return ApprovalRequest.model_validate(
        {
            "subject": {**subject, **more}, "policy": POLICY.model_dump(mode="json", exclude={"policy"}),
            "decision": decision, "asked_by": "ada", "run_id": "r", "at_s": 1.0,
        }
    )  # fmt: skip


@pytest.fixture
def adapters(world: World) -> Any:
    world.register(4)
    return SimpleNamespace(store=world.store, keys=world.keys)


def test_a_genuine_request_is_explained(world: World, adapters: Any) -> None:
    decision = world.gates(world.records[4], 3)
    assert "champion gate of digits, version 4" in verify_request(adapters, asked(world, decision))
    with pytest.raises(SecurityError, match="differs from the decision in champion_version"):
        verify_request(adapters, asked(world, decision, champion_version=2))


def test_better_numbers_than_the_gate_signed_are_not_shown_to_an_approver(world: World, adapters: Any) -> None:
    said = json.loads(world.store.get(decision_key(world.gates(world.records[4], 3))))
    said["checks"][0]["reason"] = "accuracy 1.0 >= 0.5"
    body = canonical_json(said)
    forged = digest_bytes(body)
    world.store.put(decision_key(forged), body)
    with pytest.raises(SecurityError, match="nobody signed it"):
        verify_request(adapters, asked(world, forged))
