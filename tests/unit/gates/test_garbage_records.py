"""Objects that anybody who writes to the bucket could have put there end as one line with exit code 6."""

from __future__ import annotations

import json

import pytest
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.record import find_gate_run, list_gate_runs
from mlratchet.models.registration.record import find_registration, list_registrations, registration_key

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


def test_the_registration_of_another_work_is_refused(world: World) -> None:
    record = world.records[1]
    world.store.put(registration_key("other"), json.dumps(record.model_dump(mode="json")).encode())
    with pytest.raises(SecurityError, match="is of work 000000000000"):
        find_registration(world.store, "other")
    with pytest.raises(SecurityError, match="is of work 000000000000"):
        list_registrations(world.store)
