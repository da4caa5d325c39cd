"""Objects that anybody who writes to the bucket could have put there end as one line with exit code 6."""

from __future__ import annotations

import json
import time

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.approval.statement import Subject
from mlratchet.models.approval.statement import read as read_statements
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.decisions.approval_request import read_request
from mlratchet.models.decisions.gate_run import find_gate_run, list_gate_runs
from mlratchet.models.decisions.signature import Context, decision_key, verified_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.garbage.reachable import Retention, survey
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.claim import read_claims
from mlratchet.models.identity.lease import lease_key, read_leases
from mlratchet.models.identity.signing import DetachedSignature
from mlratchet.models.ledger.chain import entry_key, parse_entry
from mlratchet.models.pipeline.store import deployed_revisions
from mlratchet.models.registration.record import (
    find_registration,
    list_registrations,
    readable_registrations,
    registration_key,
)

from tests.unit.audit.conftest import World

GARBAGE = [b"", b"{", b"\xff", b"null", b"[]", b"{}", b'{"reasons": 3}', b"[" * 100_000]


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_no_registration_and_no_gate_run(store: MemoryStore, data: bytes) -> None:
    store.put(registration_key("w"), data)
    store.put("gates/w/one.json", data)
    for read in (
        lambda: find_registration(store, "w"),
        lambda: list_registrations(store),
        lambda: find_gate_run(store, "w", "one"),
        lambda: list_gate_runs(store, "w"),
    ):
        with pytest.raises(SecurityError, match="it was changed"):
            read()


def test_a_damaged_registration_does_not_hide_the_others(world: World) -> None:
    known, damaged = readable_registrations(world.store)
    assert damaged == []
    world.store.put(registration_key("w"), b"{")
    found, damaged = readable_registrations(world.store)
    assert found == known
    assert ["is not a registration; it was changed" in str(error) for error in damaged] == [True]


def test_the_registration_of_another_work_is_refused(world: World) -> None:
    record = world.records[1]
    world.store.put(registration_key("other"), json.dumps(record.model_dump(mode="json")).encode())
    with pytest.raises(SecurityError, match="is of work 000000000000"):
        find_registration(world.store, "other")
    with pytest.raises(SecurityError, match="is of work 000000000000"):
        list_registrations(world.store)


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_no_dataset_snapshot_or_deployment(store: MemoryStore, data: bytes) -> None:
    for key, read in (
        ("datasets/d.json", lambda: load_dataset(store, "d")),
        ("snapshots/s.json", lambda: load_snapshot(store, "s")),
        ("deployments/p/00000001.json", lambda: deployed_revisions(store)),
    ):
        store.put(key, data)
        with pytest.raises(SecurityError, match=r"is not a .*; it was changed"):
            read()


@pytest.mark.parametrize("data", GARBAGE)
@pytest.mark.parametrize(("key", "after_s"), [("listings/l/f.json", 1e9), ("work/w/uploads/u.json", 0.0)])
def test_a_collector_stops_at_garbage_in_words(store: MemoryStore, key: str, after_s: float, data: bytes) -> None:
    store.put(key, data)
    with pytest.raises(SecurityError, match=r"is not a document with .*; it was changed"):
        survey(store, now_s=time.time() + after_s, retention=Retention())


@pytest.mark.parametrize("data", GARBAGE)
def test_garbage_is_no_lease_no_claim_and_no_request(store: MemoryStore, data: bytes) -> None:
    store.put(lease_key("run"), data)
    store.put("work/w/claim-000001.json", data)
    store.put("approvals/digits/x/request.json", data)
    for read in (
        lambda: read_leases(store),
        lambda: read_claims(store, "w"),
        lambda: read_request(store, "approvals/digits/x/request.json"),
    ):
        with pytest.raises(SecurityError, match=r"is not a|not a request"):
            read()


@pytest.mark.parametrize("data", [*GARBAGE, b'{"at_s": 1' + b"0" * 400 + b"}", b'{"at_s": NaN}', b'{"at_s": "1"}'])
def test_a_decision_of_garbage_is_refused_before_its_signature_is_looked_at(store: MemoryStore, data: bytes) -> None:
    digest = digest_bytes(data)
    store.put(decision_key(digest), data)
    store.put(f"signatures/{digest}/k.json", b'{"key_id": "k", "signature": ""}')
    with pytest.raises(SecurityError, match="is not a decision"):
        verified_decision(store, digest, Context(MemoryKeys().trusted()))


@pytest.mark.parametrize("data", GARBAGE)
def test_a_signature_of_garbage_is_passed_over(world: World, data: bytes) -> None:
    digest = world.ledger.entries("digits")[-1].decision
    world.store.put(f"signatures/{digest}/0.json", data)
    _, key_id = verified_decision(world.store, digest, Context(world.keys.trusted()))
    assert key_id == world.keys.signer().key_id
    world.store.delete(f"signatures/{digest}/{key_id}.json")
    with pytest.raises(SecurityError, match="is not a signature"):
        verified_decision(world.store, digest, Context(world.keys.trusted()))


def test_a_signature_that_is_a_number_does_not_fit() -> None:
    keys = MemoryKeys()
    number: str = json.loads("5")
    with pytest.raises(SecurityError, match="does not fit"):
        keys.trusted().verify(
            DetachedSignature(keys.signer().key_id, number),
            b"x",
            purpose="approval",
            role="pipeline",
            at_s=1.0,
            what="w",
        )


def test_a_statement_of_garbage_is_damaged_and_stops_nobody(store: MemoryStore) -> None:
    about = Subject(
        pipeline="digits", gate="champion", version=1, work_key="w", manifest="m", policy="p", dataset="d",
        champion_version=None,
    )  # fmt: skip
    for number, data in enumerate(GARBAGE):
        store.put(f"{about.folder}{'0' * 16}/{number:04d}.json", data)
    statements, damaged = read_statements(store, about)
    assert statements == []
    assert len(damaged) == len(GARBAGE)


def test_an_entry_with_other_bytes_and_the_same_values_was_changed(world: World) -> None:
    """The signature is over the values: with other spaces the newest entry, which no other hangs on, would pass."""
    key = entry_key("digits", 4)
    data = world.store.get(key)
    assert parse_entry(data, key).generation == 4
    world.store.put(key, data.replace(b":", b": ", 1))
    with pytest.raises(SecurityError, match="its bytes are not those that were written"):
        world.ledger.entries("digits")
    assert not world.audit().passed


@pytest.mark.parametrize("data", GARBAGE)
def test_an_audit_goes_on_after_a_registration_of_garbage(world: World, data: bytes) -> None:
    world.store.put(registration_key(world.records[3].work_key), data)
    report = world.audit()
    assert [line for line in report.problems if "is not a registration; it was changed" in line]
    assert report.generations == 4
