"""The server believes the ledger after it has verified entry, decision and bytes; else the old champion serves on."""

from __future__ import annotations

from collections.abc import Callable
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
from mlratchet.models.serving.follower import ChampionFollower, PredictorLoader
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
    "file": lambda w: w.uploads.put("1/models/m-4/artifacts/model.bin", b"something else"),
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


def test_a_fresh_server_serves_nothing_that_does_not_verify(world: World, follower: ChampionFollower) -> None:
    world.change_trust(list(TrustedKeys()))
    with pytest.raises(SecurityError, match="not in the trusted list"):
        follower.follow()
    assert follower._slot.current is None
