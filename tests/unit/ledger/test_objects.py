"""The ledger: no gap, no fork, no unseen change."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger, entry_key
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ports.storage import StorageError

KEYS = MemoryKeys()


def promote(ledger: ObjectLedger, version: int, expected: int, name: str = "digits", **changes: Any) -> LedgerEntry:
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
    return ledger.append(name, **{**facts, **changes}, expected_generation=expected)


def test_entries_chain_and_the_newest_is_the_champion(store: MemoryStore) -> None:
    ledger = ObjectLedger(store, KEYS)
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
    ledger = ObjectLedger(store, KEYS)
    promote(ledger, 1, 0)
    with pytest.raises(LedgerConflict, match="version 1 by ada"):
        promote(ledger, 2, 0)


def test_sixteen_promotions_at_once_leave_one_entry(store: MemoryStore) -> None:
    ledger = ObjectLedger(store, KEYS)

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
    ledger = ObjectLedger(store, KEYS)
    promote(ledger, 1, 0)
    promote(ledger, 2, 1)
    key = entry_key("digits", 1)
    document = json.loads(store.get(key))
    document[what] = {"version": 7, "at_s": 7.0}.get(what, "mallory")
    store.put(key, canonical_json(document))
    with pytest.raises(SecurityError, match="does not follow"):
        ledger.entries("digits")


def test_a_removed_entry_is_noticed(store: MemoryStore) -> None:
    ledger = ObjectLedger(store, KEYS)
    for version in (1, 2, 3):
        promote(ledger, version, version - 1)
    store.delete(entry_key("digits", 2))
    with pytest.raises(SecurityError, match="an entry was removed"):
        ledger.entries("digits")


def test_times_never_go_back_with_the_clock(store: MemoryStore) -> None:
    ledger = ObjectLedger(store, KEYS)
    promote(ledger, 1, 0, now_s=7200.0)
    assert promote(ledger, 2, 1, now_s=3600.0).at_s == 7200.0  # this machine's clock is an hour behind
    assert promote(ledger, 3, 2, now_s=7201.0).at_s == 7201.0
    then = ledger.at("digits", 7200.5)
    assert then is not None
    assert then.version == 2


class Unreliable(MemoryStore):
    """The next create is done or refused, and its reply is lost."""

    def __init__(self) -> None:
        super().__init__("store")
        self.losing: str | None = None

    def create(self, key: str, data: bytes | bytearray) -> None:
        losing, self.losing = self.losing, None
        if losing != "request":
            super().create(key, data)
        if losing is not None:
            raise StorageError(f"{key}: connection reset")


def test_a_lost_reply_is_read_back_and_a_lost_request_is_an_error() -> None:
    store = Unreliable()
    ledger = ObjectLedger(store, KEYS)
    store.losing = "reply"
    assert promote(ledger, 1, 0).generation == 1
    store.losing = "request"
    with pytest.raises(StorageError, match="connection reset"):
        promote(ledger, 2, 1)
    assert [entry.version for entry in ledger.entries("digits")] == [1]
    assert promote(ledger, 2, 1).generation == 2


def test_a_chain_is_read_once_and_a_later_edit_of_it_is_not_believed_but_found_by_who_reads_all(
    store: MemoryStore,
) -> None:
    ledger = ObjectLedger(store, KEYS)
    for version in (1, 2, 3):
        promote(ledger, version, version - 1)
    digests = ledger.digests("digits")
    reads: list[str] = []
    get = store.get
    store.get = lambda key, **more: (reads.append(key), get(key, **more))[1]  # type: ignore[method-assign]
    assert ledger.digests("digits") == digests
    assert reads == []
    key = entry_key("digits", 1)
    store.put(key, store.get(key).replace(b'"ada"', b'"eve"'))
    assert (ledger.digests("digits"), ledger.entries("digits")[0].actor) == (digests, "ada")
    with pytest.raises(SecurityError, match="does not follow"):
        ObjectLedger(store, KEYS).entries("digits")
    store.put(key, b"{}")
    with pytest.raises(SecurityError, match="not a ledger entry"):
        ObjectLedger(store, KEYS).entries("digits")


@pytest.mark.parametrize("body", [b"{}", None])
def test_an_edit_or_removal_of_the_newest_entry_that_was_read_is_noticed(
    store: MemoryStore, body: bytes | None
) -> None:
    ledger = ObjectLedger(store, KEYS)
    for version in (1, 2):
        promote(ledger, version, version - 1)
    assert len(ledger.entries("digits")) == 2
    if body is None:
        store.delete(entry_key("digits", 2))
        assert [entry.version for entry in ledger.entries("digits")] == [1]
        return
    store.put(entry_key("digits", 2), body)
    with pytest.raises(SecurityError, match="not a ledger entry"):
        ledger.entries("digits")
