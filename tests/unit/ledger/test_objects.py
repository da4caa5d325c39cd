"""The ledger: no gap, no fork, no unseen change."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlratchet.infra.ledger.objects import ObjectLedger, entry_key
from mlratchet.infra.promotion import project, promote_version
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.ledger import LedgerConflict, LedgerEntry
from mlratchet.models.registration.record import Registration


def promote(ledger: ObjectLedger, version: int, expected: int, **changes: Any) -> LedgerEntry:
    facts: dict[str, Any] = {
        "action": "promote",
        "version": version,
        "work_key": f"w{version}",
        "decision": f"d{version}",
        "manifest": f"m{version}",
        "actor": "ada",
        "reason": "because",
        "now_s": float(expected),
    }
    return ledger.append("digits", **{**facts, **changes}, expected_generation=expected)


def test_entries_chain_and_the_newest_is_the_champion(store: MemoryStore) -> None:
    ledger = ObjectLedger(store)
    assert ledger.head("digits") is None
    for version in (1, 2, 3):
        promote(ledger, version, version - 1)
    head = ledger.head("digits")
    assert head is not None
    assert (head.version, head.generation) == (3, 3)
    assert [entry.generation for entry in ledger.entries("digits")] == [1, 2, 3]
    earlier = ledger.at("digits", 1.5)
    assert earlier is not None
    assert earlier.version == 2
    assert ledger.entries("other") == []


def test_a_promotion_from_an_old_view_is_refused_and_says_who_won(store: MemoryStore) -> None:
    ledger = ObjectLedger(store)
    promote(ledger, 1, 0)
    with pytest.raises(LedgerConflict, match="version 1 by ada"):
        promote(ledger, 2, 0)


def test_sixteen_promotions_at_once_leave_one_entry(store: MemoryStore) -> None:
    ledger = ObjectLedger(store)

    def attempt(version: int) -> bool:
        try:
            promote(ledger, version, 0)
        except LedgerConflict:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(attempt, range(1, 17)))
    assert sum(won) == 1
    assert len(ledger.entries("digits")) == 1


@pytest.mark.parametrize("what", ["version", "actor", "decision", "at_s"])
def test_an_edited_entry_is_noticed(store: MemoryStore, what: str) -> None:
    ledger = ObjectLedger(store)
    promote(ledger, 1, 0)
    promote(ledger, 2, 1)
    key = entry_key("digits", 1)
    document = json.loads(store.get(key))
    document[what] = 7 if what in ("version", "at_s") else "mallory"
    store.put(key, json.dumps(document).encode())
    with pytest.raises(SecurityError, match="does not follow"):
        ledger.entries("digits")


def test_a_removed_entry_is_noticed(store: MemoryStore) -> None:
    ledger = ObjectLedger(store)
    for version in (1, 2, 3):
        promote(ledger, version, version - 1)
    store.delete(entry_key("digits", 2))
    with pytest.raises(SecurityError, match="an entry was removed"):
        ledger.entries("digits")


def record(version: int) -> Registration:
    return Registration(
        name="digits", version=version, work_key=f"w{version}", run_id="r", model_id=None, source_uri="s3://b/p",
        manifest={}, manifest_digest=f"m{version}", weights_key="k", weights_sha256="s", snapshot_id="s",
        dataset_id="d", rows_key="r", revision="v", parent_version=None, registered_s=0.0,
    )  # fmt: skip


def registry_with(versions: int) -> MemoryRegistry:
    registry = MemoryRegistry()
    for version in range(1, versions + 1):
        registry.create_version(
            "digits", work_key=f"w{version}", run_id="r", source_uri="u", model_id=None, description="", tags={}
        )
    return registry


def test_promoting_the_same_decision_again_changes_nothing(store: MemoryStore) -> None:
    ledger = ObjectLedger(store)
    made = [
        promote_version(ledger, record(1), decision="d", actor="a", reason="r", expected_generation=0) for _ in range(3)
    ]
    assert made[0] == made[1] == made[2]
    assert len(ledger.entries("digits")) == 1
    with pytest.raises(LedgerConflict):
        promote_version(ledger, record(2), decision="other", actor="a", reason="r", expected_generation=0)


def test_aliases_and_tags_follow_the_ledger_whatever_they_were(store: MemoryStore) -> None:
    ledger, registry = ObjectLedger(store), registry_with(3)
    promote(ledger, 1, 0)
    promote(ledger, 2, 1)
    registry.set_alias("digits", "champion", 3)  # edited behind our back
    assert project(ledger, registry, "digits")
    holders = {alias: registry.get_alias("digits", alias) for alias in ("champion", "previous")}
    assert {alias: holder.version for alias, holder in holders.items() if holder} == {"champion": 2, "previous": 1}
    assert registry.get_version("digits", 2).tags["ratchet.decision.champion"] == "d2"
    assert project(ledger, registry, "digits") == []


def test_after_a_rollback_previous_is_the_version_that_was_left(store: MemoryStore) -> None:
    ledger, registry = ObjectLedger(store), registry_with(2)
    promote(ledger, 1, 0)
    promote(ledger, 2, 1)
    promote(ledger, 1, 2, action="rollback")
    project(ledger, registry, "digits")
    previous = registry.get_alias("digits", "previous")
    assert previous is not None
    assert previous.version == 2
