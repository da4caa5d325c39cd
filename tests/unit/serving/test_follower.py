"""The server believes the ledger after it has verified entry, decision and bytes; else the old champion serves on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.serving import server
from mlratchet.infra.serving.server import Follower
from mlratchet.models.decisions.signature import decision_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.serving.app import Slot
from mlratchet.models.serving.config import ServingConfig

from tests.unit.audit.conftest import World


@pytest.fixture
def follower(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Follower:
    """On the world's bucket; a model is not loaded, its files are."""

    def predictor(**facts: Any) -> Any:
        return SimpleNamespace(version=facts["version"], generation=facts["generation"], warm_up=lambda: None)

    monkeypatch.setattr(Follower, "_bucket", lambda _self, name: world.bucket(name))
    monkeypatch.setattr(server, "InstalledKeys", lambda _settings: world.keys)
    monkeypatch.setattr(server, "Predictor", predictor)
    monkeypatch.setattr(server, "load_exported", lambda _folder: None)
    monkeypatch.setattr(server, "Signature", SimpleNamespace(from_json=lambda _text: None))
    monkeypatch.setattr(server.Path, "read_text", lambda _self: "")
    settings: Any = SimpleNamespace(store_bucket="store", home=tmp_path, s3_endpoint_url="http://here", s3_region="r")
    return Follower(settings, "digits", Slot(), ServingConfig())


def served(follower: Follower) -> int:
    current = follower._slot.current
    assert current is not None
    return current.version


def test_the_champion_is_served_and_followed(world: World, follower: Follower) -> None:
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
def test_the_old_champion_serves_on_after_tampering(world: World, follower: Follower, what: str) -> None:
    follower.follow()
    world.promote(4)
    TAMPER[what](world)
    with pytest.raises(SecurityError):
        follower.follow()
    assert served(follower) == 3


def test_what_was_put_right_clears_the_error(world: World, follower: Follower) -> None:
    follower.follow()
    head = world.store.get(entry_key("digits", 4))
    world.store.delete(entry_key("digits", 4))
    with pytest.raises(SecurityError, match="ends with generation 3, but 4 is served"):
        follower.follow()
    follower._slot.load_error = "SECURITY: ..."
    world.store.put(entry_key("digits", 4), head)
    follower.follow()
    assert follower._slot.load_error == ""


def test_a_fresh_server_serves_nothing_that_does_not_verify(world: World, follower: Follower) -> None:
    world.change_trust(list(TrustedKeys()))
    with pytest.raises(SecurityError, match="not in the trusted list"):
        follower.follow()
    assert follower._slot.current is None
