"""The server believes the ledger after it has verified entry, decision and bytes; else the old champion serves on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.models.decisions.signature import decision_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.registration.record import Registration
from mlratchet.models.serving import follower as follower_module
from mlratchet.models.serving.follower import ChampionFollower, PredictorLoader, wait_after
from mlratchet.models.serving.slot import Slot

from tests.unit.audit.conftest import World


class FilesOnly:
    """A loader that verifies the artifact's files and makes no model of them."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world, self._folder = world, folder

    def load(self, record: Registration, generation: int) -> Any:
        fetch_artifact(self._world.bucket, record, self._folder / f"{generation}")
        return SimpleNamespace(version=record.version, generation=generation, warm_up=lambda: None)


@pytest.fixture
def follower(world: World, tmp_path: Path) -> ChampionFollower:
    """On the world's bucket."""
    loader: PredictorLoader = FilesOnly(world, tmp_path)
    return ChampionFollower("digits", Slot(), ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)


def served(follower: ChampionFollower) -> int:
    current = follower._slot.current
    assert current is not None
    return current.version


def test_the_champion_is_served_and_followed(world: World, follower: ChampionFollower) -> None:
    follower.follow()
    assert served(follower) == 3
    world.promote(4)
    follower.follow()
    assert served(follower) == 4


TAMPER: dict[str, Callable[[World], Any]] = {
    "decision": lambda w: w.store.put(decision_key(w.ledger.entries("digits")[-1].decision), b"{}"),
    "signature": lambda w: w.store.delete(
        f"signatures/{w.ledger.entries('digits')[-1].decision}/{w.keys.signer().key_id}.json"
    ),
    "entry": lambda w: w.store.put(entry_key("digits", 5), b"[]"),
    "registration": lambda w: w.store.delete(f"registrations/{4:064x}.json"),
    "file": lambda w: w.uploads.put("1/models/m-4/artifacts/data/model.pt2", b"something else"),
    "extra file": lambda w: w.uploads.put("1/models/m-4/artifacts/extra.py", b"import os"),
    "ungated": lambda w: w.append(w.records[4], "0" * 64, w.remove(5)),
    "replayed pass": lambda w: w.append(w.records[2], w.ledger.entries("digits")[1].decision, w.remove(5)),
    "cut tail": lambda w: w.remove(5, 4),
    "whole ledger": lambda w: w.remove(5, 4, 3, 2, 1),
    "revoked key": lambda w: w.change_trust(
        [key.model_copy(update={"revoked_s": 0.0}) for key in w.keys.trusted()]
    ),
    "unknown key": lambda w: w.change_trust([]),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPER)
def test_the_old_champion_serves_on_after_tampering(world: World, follower: ChampionFollower, what: str) -> None:
    follower.follow()
    world.promote(4)
    TAMPER[what](world)
    with pytest.raises(SecurityError):
        follower.follow()
    assert served(follower) == 3


def test_what_was_put_right_clears_the_error(world: World, follower: ChampionFollower) -> None:
    follower.follow()
    head = world.store.get(entry_key("digits", 4))
    world.store.delete(entry_key("digits", 4))
    with pytest.raises(SecurityError, match="ends with generation 3, but 4 is served"):
        follower.follow()
    follower._slot.load_error = "SECURITY: ..."
    world.store.put(entry_key("digits", 4), head)
    follower.follow()
    assert follower._slot.load_error == ""


def rewritten(world: World) -> None:
    """The newest entry under its number again, genuine in every way, for another version."""
    world.remove(4)
    world.promote(4)


def test_another_entry_under_the_served_number_is_refused(world: World, follower: ChampionFollower) -> None:
    follower.follow()
    assert world.ledger.entries("digits")[-1].generation == 4
    rewritten(world)
    follower._ledger = world.ledger  # as after a restart: this process's own ledger would have seen it, too
    with pytest.raises(SecurityError, match="the ledger was rewritten"):
        follower.follow()
    assert served(follower) == 3


class Failing:
    """A loader that fails for a version."""

    def __init__(self) -> None:
        self.tries: list[int] = []
        self.broken = {3}

    def load(self, record: Registration, generation: int) -> Any:
        self.tries.append(record.version)
        if record.version in self.broken:
            raise RuntimeError("damaged")
        return SimpleNamespace(version=record.version, generation=generation, warm_up=lambda: None)


def test_a_champion_that_cannot_be_loaded_is_tried_ever_less_often_and_says_when(world: World) -> None:
    loader, slot, said = Failing(), Slot(), []
    made = ChampionFollower("digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)
    for second in range(200):  # as if it were woken each
        made.look(1000.0 + second)
        said.append((slot.next_try_at or 0.0) - 1000.0)
    assert [wait_after(n) for n in (0, 1, 2, 6, 60)] == [0.0, 2.0, 4.0, 60.0, 60.0]
    assert loader.tries == [3] * 8  # at 0, 2, 6, 14, 30, 62, 122 and 182 s
    assert said[:4] == [2.0, 2.0, 6.0, 6.0]
    assert slot.load_error == "RuntimeError: damaged"


def test_who_mended_it_need_not_wait_for_the_next_try(world: World) -> None:
    loader, slot = Failing(), Slot()
    made = ChampionFollower("digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)
    for second in range(10):
        made.look(1000.0 + second)
    loader.broken.clear()
    made.look(1010.0)
    assert slot.load_error
    made.retry()
    made.look(1010.1)
    assert (slot.version, slot.load_error) == ("3", "")


def test_health_says_in_how_many_seconds_it_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    slot = Slot()
    assert slot.next_try_in_s is None
    slot.next_try_at = 107.26
    monkeypatch.setattr("mlratchet.models.serving.slot.time.monotonic", lambda: 100.0)
    assert slot.next_try_in_s == 7.3
    monkeypatch.setattr("mlratchet.models.serving.slot.time.monotonic", lambda: 200.0)
    assert slot.next_try_in_s == 0.0


def test_another_head_is_tried_at_once(world: World) -> None:
    loader, slot = Failing(), Slot()
    made = ChampionFollower("digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)
    for second in range(20):
        made.look(float(second))
    world.promote(4)
    made.look(20.0)
    assert loader.tries[-1] == 4
    assert (slot.version, slot.load_error, slot.next_try_at) == ("4", "", None)


def test_a_follower_looks_when_it_is_woken_and_frees_what_was_swapped_out(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "TIDY_S", 0.0)
    loader, slot, freed = Failing(), Slot(), threading.Semaphore(0)
    loader.broken = set()
    made = ChampionFollower(
        "digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader,
        give_back=freed.release,
    )  # fmt: skip
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    assert freed.acquire(timeout=120)
    assert slot.version == "3"
    world.promote(4)
    made.wake()
    assert freed.acquire(timeout=120)
    assert slot.version == "4"
    made.stop()
    thread.join(30)
    assert not thread.is_alive()


@dataclass(frozen=True)
class Plain:
    """What a loader makes, where nobody asks it anything."""

    version: int
    generation: int

    def warm_up(self) -> None: ...


class Counting:
    """Counts what is loaded."""

    def __init__(self) -> None:
        self.loaded: list[int] = []

    def load(self, record: Registration, generation: int) -> Any:
        self.loaded.append(record.version)
        return Plain(record.version, generation)


def test_the_version_before_stays_loaded_and_the_way_back_and_forth_loads_nothing(world: World) -> None:
    loader, slot = Counting(), Slot()
    made = ChampionFollower("digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)
    made.follow()
    world.promote(4)
    made.follow()
    assert loader.loaded == [3, 4]
    world.roll_back(3)
    made.follow()
    assert (slot.version, slot.current and slot.current.generation) == ("3", 6)
    world.roll_back(4)
    made.follow()
    assert (slot.version, slot.current and slot.current.generation) == ("4", 7)
    assert loader.loaded == [3, 4]
    world.roll_back(2)  # not the one before
    made.follow()
    assert loader.loaded == [3, 4, 2]


def test_what_is_still_loaded_is_verified_all_the_same(world: World) -> None:
    loader, slot = Counting(), Slot()
    made = ChampionFollower("digits", slot, ledger=world.ledger, keys=world.keys, store=world.store, loader=loader)
    made.follow()
    world.promote(4)
    made.follow()
    entry = world.roll_back(3)
    world.store.put(decision_key(entry.decision), b"{}")
    with pytest.raises(SecurityError):
        made.follow()
    assert slot.version == "4"
    world.store.delete(f"registrations/{3:064x}.json")
    with pytest.raises(SecurityError):
        made.follow()
    assert slot.version == "4"


def test_a_fresh_server_serves_nothing_that_does_not_verify(world: World, follower: ChampionFollower) -> None:
    world.change_trust(list(TrustedKeys()))
    with pytest.raises(SecurityError, match="not in the trusted list"):
        follower.follow()
    assert follower._slot.current is None
