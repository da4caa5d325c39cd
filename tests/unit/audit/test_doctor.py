"""An alias that was edited behind our back is named, and so is a ledger that does not verify."""

from __future__ import annotations

from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.stack.ledgers import examine_ledger
from mlratchet.models.ledger.chain import entry_key

from tests.unit.audit.conftest import World


def test_an_edited_alias_and_a_damaged_ledger_are_named(world: World) -> None:
    registry, trusted = MemoryRegistry(), world.keys.trusted()
    for version in (1, 2, 3):
        registry.create_version(
            "digits", work_key=f"{version:064x}", run_id="r", source_uri="u", model_id=None, description="", tags={}
        )
    registry.set_alias("digits", "champion", 3)
    assert examine_ledger(world.store, registry, trusted, "digits")[1:3] == (
        "4 generations verify, the alias follows", True,
    )  # fmt: skip
    registry.set_alias("digits", "champion", 2)
    assert examine_ledger(world.store, registry, trusted, "digits")[1:] == (
        "champion is version 3, the alias names 2", False, "`ratchet reconcile`",
    )  # fmt: skip
    world.store.delete(entry_key("digits", 2))
    what, found, ok, do = examine_ledger(world.store, registry, trusted, "digits")
    assert (what, ok, do) == ("ledger of digits", False, "`ratchet audit digits`")
    assert "an entry was removed" in found
