"""The requests of a champion's clients are found by the decisions that its ledger entry names."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.decisions.decision import build_decision
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.gates.result import GateResult
from mlratchet.models.ports.storage import DigestMismatch
from mlratchet.models.serving.contract import StoredRequest, publish_requests
from mlratchet.tasks.support.recorded_requests import requests_of

KEYS = MemoryKeys()
ASKED = (StoredRequest(name="row 0", body='{"instances": [[1.0]]}', expect="answer"),)


def decided(store: MemoryStore, **digests: str) -> str:
    result = GateResult(gate="champion", verdict="pass", checks=())
    decision = build_decision(
        "p", "champion", result, version=1, work_key="w", champion_version=None, digests=digests, actor="a", now_s=1.0,
        run_id="r",
    )  # fmt: skip
    return publish_decision(store, decision, KEYS.signer())


def champion(store: MemoryStore, version: int, decision: str, action: Any = "promote") -> Any:
    ledger = ObjectLedger(store, KEYS)
    ledger.append(
        "p", action=action, version=version, work_key=f"w{version}", decision=decision, manifest="m", actor="a",
        reason="r", now_s=1.0, expected_generation=len(ledger.entries("p")),
    )  # fmt: skip
    return ledger.entries("p")


@pytest.mark.parametrize("by", ["a gate", "an override of a gate"])
def test_they_are_named_by_the_promotion_whoever_decided_and_after_a_rollback_too(store: MemoryStore, by: str) -> None:
    named = decided(store, requests=publish_requests(store, ASKED))
    if by == "an override of a gate":
        named = decided(store, **{"gate.data": decided(store), "gate.champion": named})
    champion(store, 1, named)
    champion(store, 2, decided(store))
    entries = champion(store, 1, decided(store), action="rollback")
    assert [one.body for one in requests_of(store, entries, 1)] == [ASKED[0].body]
    assert requests_of(store, entries, 2) == []


def test_deleted_ones_break_the_contract_and_changed_ones_are_refused(store: MemoryStore) -> None:
    key = publish_requests(store, ASKED)
    entries = champion(store, 1, decided(store, requests=key))
    store.put(key, b"[]")
    with pytest.raises(DigestMismatch):
        requests_of(store, entries, 1)
    store.delete(key)
    (gone,) = requests_of(store, entries, 1)
    assert "clients of version 1 send are gone" in gone.name
    assert (gone.body, gone.expect) == ("", "answer")
