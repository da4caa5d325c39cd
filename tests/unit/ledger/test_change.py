"""One way a champion changes: the ledger is whole, a decision allows it, one entry, the registry follows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger, entry_key
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.ports.registry import RegistryError
from mlratchet.models.promotion.change import FOLLOWS, ChampionChange, change_champion
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.models.registration.record import Registration

KEYS = MemoryKeys()


class Away(MemoryRegistry):
    """A registry that answers nothing."""

    def model_tags(self, name: str) -> dict[str, str]:
        raise RegistryError("mlflow does not answer")


def change(
    store: MemoryStore, registry: MemoryRegistry, record: Registration, over: int, *, rollback: bool = False,
    authorise: Callable[[], str] = lambda: "d",
) -> ChampionChange:  # fmt: skip
    return change_champion(
        ObjectLedger(store, KEYS), registry, record, holds=HoldBook(store), authorise=authorise, over_generation=over,
        actor="ada", reason="because", action="rollback" if rollback else "promote", without_registry=rollback,
    )  # fmt: skip


def champion(registry: MemoryRegistry) -> int:
    found = registry.get_alias("digits", "champion")
    assert found is not None
    return found.version


def test_an_entry_is_appended_and_the_aliases_follow(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    made = change(store, registry, register(), 0)
    assert (made.entry.generation, made.entry.decision, made.follows) == (1, "d", FOLLOWS)
    assert champion(registry) == 1


def test_what_nobody_allows_changes_nothing(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    def refuse() -> str:
        raise GateRefusedError("no")

    with pytest.raises(GateRefusedError):
        change(store, registry, register(), 0, authorise=refuse)
    assert ObjectLedger(store, KEYS).head("digits") is None
    assert registry.get_alias("digits", "champion") is None


@pytest.mark.parametrize("rollback", [False, True])
def test_nobody_is_asked_about_a_ledger_whose_newest_entry_is_gone(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration], rollback: bool
) -> None:
    first, second = register(), register()
    change(store, registry, first, 0)
    change(store, registry, second, 1)
    store.delete(entry_key("digits", 2))
    asked: list[int] = []
    with pytest.raises(SecurityError, match="is gone"):
        change(store, registry, second, 1, rollback=rollback, authorise=lambda: str(asked.append(1)))
    assert asked == []


def test_another_change_that_came_first_is_not_undone(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    first, second = register(), register()
    change(store, registry, first, 0, authorise=lambda: "d1")
    with pytest.raises(LedgerConflict):
        change(store, registry, second, 0, authorise=lambda: "d2")
    assert champion(registry) == 1


def test_a_rollback_stands_while_the_registry_is_away_and_a_promotion_waits_for_it(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    first, second = register(), register()
    change(store, registry, first, 0)
    change(store, registry, second, 1, authorise=lambda: "d2")
    with pytest.raises(RegistryError):
        change(store, Away(), first, 2)
    assert [entry.version for entry in ObjectLedger(store, KEYS).entries("digits")] == [1, 2]
    back = change(store, Away(), first, 2, rollback=True)
    assert (back.entry.generation, back.entry.action) == (3, "rollback")
    assert "ratchet reconcile" in back.follows


def test_a_hold_stops_a_promotion_before_anybody_is_asked_and_never_a_rollback(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    first, second = register(), register()
    change(store, registry, first, 0)
    change(store, registry, second, 1)
    HoldBook(store).place("digits", finding="f" * 64, kind="data", words="half is empty", actor="monitor", at_s=1.0)
    asked: list[str] = []
    with pytest.raises(GateRefusedError, match=r"held since .* by finding ffffffffffff"):
        change(store, registry, first, 2, authorise=lambda: asked.append("x") or "d")  # type: ignore[func-returns-value]
    assert asked == []
    assert change(store, registry, first, 2, rollback=True).entry.generation == 3


def test_a_hold_that_is_placed_while_bytes_are_verified_stops_the_entry(
    store: MemoryStore, registry: MemoryRegistry, register: Callable[[], Registration]
) -> None:
    def slowly() -> str:
        HoldBook(store).place("digits", finding="f" * 64, kind="data", words="half is empty", actor="m", at_s=1.0)
        return "d"

    with pytest.raises(GateRefusedError, match="held since"):
        change(store, registry, register(), 0, authorise=slowly)
    assert ObjectLedger(store, KEYS).head("digits") is None
