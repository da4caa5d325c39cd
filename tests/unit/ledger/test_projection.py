"""Aliases and tags follow the ledger, the registrations and the gate runs, whatever was done to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger, entry_key
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import SecurityError
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.ports.registry import ALIASES
from mlratchet.models.promotion.follow import project_versions
from mlratchet.models.promotion.move import HEAD, project, promote_version, raise_alias
from mlratchet.models.registration.record import Registration, list_registrations

KEYS = MemoryKeys()


def promote(ledger: ObjectLedger, record: Registration, expected: int, **more: Any) -> Any:
    facts = {"decision": f"d{record.version}", "actor": "ada", "reason": "because", "expected_generation": expected}
    return promote_version(ledger, record, **{**facts, **more})


def holders(registry: MemoryRegistry) -> dict[str, int]:
    found = {alias: registry.get_alias("digits", alias) for alias in ALIASES}
    return {alias: holder.version for alias, holder in found.items() if holder is not None}


def project_all(store: MemoryStore, registry: MemoryRegistry) -> list[str]:
    ledger = ObjectLedger(store, KEYS)
    repaired = project(ledger, registry, "digits")
    records = list_registrations(store)["digits"]
    return repaired + project_versions(store, registry, "digits", records, ledger.entries("digits"))


def test_promoting_the_same_decision_again_changes_nothing(
    store: MemoryStore, register: Callable[..., Registration]
) -> None:
    ledger, first, second = ObjectLedger(store, KEYS), register(), register()
    made = [promote(ledger, first, 0) for _ in range(3)]
    assert made[0] == made[1] == made[2]
    assert len(ledger.entries("digits")) == 1
    with pytest.raises(LedgerConflict, match="version 1 by ada"):
        promote(ledger, second, 0)
    promote(ledger, second, 1)
    assert promote(ledger, first, 0) == made[0]  # found again although another one is the newest by now


def test_every_alias_and_tag_is_derived_again(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    ledger = ObjectLedger(store, KEYS)
    records = [register(), register(), register(), register(staged=False)]
    promote(ledger, records[0], 0)
    promote(ledger, records[1], 1)
    assert project_all(store, registry) != []
    right = {"champion": 2, "previous": 1, "candidate": 4, "staging": 3}
    assert holders(registry) == right
    assert registry.get_version("digits", 2).tags["ratchet.decision.champion"] == "d2"
    assert registry.get_version("digits", 3).tags["ratchet.decision.staging"] == "s3"
    assert registry.model_tags("digits")[HEAD] == ledger.digests("digits")[-1]
    assert project_all(store, registry) == []
    for alias, wrong in (("champion", 4), ("previous", 2), ("candidate", 1), ("staging", 4)):
        registry.set_alias("digits", alias, wrong)
    registry.set_tags("digits", 2, {"ratchet.decision.champion": "forged", "ratchet.snapshot": "forged"})
    registry.set_tags("digits", 1, {"ratchet.generation": "9"})
    registry.set_model_tags("digits", {HEAD: ledger.digests("digits")[0]})  # behind, as a crash leaves it
    assert len(project_all(store, registry)) >= 6
    assert holders(registry) == right
    assert registry.get_version("digits", 2).tags["ratchet.snapshot"] == "s2"
    assert registry.get_version("digits", 1).tags["ratchet.generation"] == "1"
    for alias in ALIASES:
        registry.delete_alias("digits", alias)
    project_all(store, registry)
    assert holders(registry) == right
    assert project_all(store, registry) == []


def test_an_alias_that_no_ledger_speaks_of_is_taken_away(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    register()
    registry.set_alias("digits", "champion", 1)
    assert any("alias champion removed" in line for line in project_all(store, registry))
    assert holders(registry) == {"candidate": 1, "staging": 1}


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_cut_tail_is_not_followed(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration], left: int
) -> None:
    ledger = ObjectLedger(store, KEYS)
    for at in range(3):
        promote(ledger, register(), at)
    project(ledger, registry, "digits")
    before = holders(registry)
    for generation in range(left + 1, 4):
        store.delete(entry_key("digits", generation))
    with pytest.raises(SecurityError, match=f"is gone, {left} are left"):
        project(ledger, registry, "digits")
    assert holders(registry) == before


def test_a_rewritten_tail_is_not_followed(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    ledger = ObjectLedger(store, KEYS)
    records = [register(), register()]
    promote(ledger, records[0], 0)
    promote(ledger, records[1], 1)
    project(ledger, registry, "digits")
    store.delete(entry_key("digits", 2))
    promote(ObjectLedger(store, KEYS), records[0], 1, decision="forged")
    with pytest.raises(SecurityError, match="cut or rewritten"):
        project(ledger, registry, "digits")


def test_after_a_rollback_previous_is_the_version_that_was_left(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    ledger = ObjectLedger(store, KEYS)
    records = [register(), register()]
    promote(ledger, records[0], 0)
    promote(ledger, records[1], 1)
    promote(ledger, records[0], 2, action="rollback", decision="r")
    project(ledger, registry, "digits")
    assert (holders(registry)["champion"], holders(registry)["previous"]) == (1, 2)


def test_a_second_version_of_one_work_key_is_removed_and_the_registered_one_stands(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    first = register()
    registry.create_version(
        "digits", work_key="slow", run_id="r", source_uri="u", model_id=None, description="", tags={}
    )
    registry.set_tags("digits", 2, {"ratchet.work_key": first.work_key})  # a slow server made it twice
    assert any("version 2 of the registry removed" in line for line in project_all(store, registry))
    assert [v.version for v in registry.list_versions("digits")] == [1]


def test_a_version_that_the_registry_lost_is_named(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    register()
    register()
    registry.delete_version("digits", 2)
    assert any("version 2 is not in the registry" in line for line in project_all(store, registry))
    assert holders(registry)["candidate"] == 1


def test_an_older_version_judged_again_takes_no_alias_from_a_newer_one(
    registry: MemoryRegistry, register: Callable[..., Registration]
) -> None:
    register()
    register()
    for version, holder in ((1, 1), (2, 2), (1, 2)):
        raise_alias(registry, "digits", "candidate", version)
        assert holders(registry)["candidate"] == holder
