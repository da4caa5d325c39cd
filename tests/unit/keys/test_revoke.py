"""Revoking notes what is older than the theft; it never waits for a bucket."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.keys.files import InstalledKeys, ensure_pipeline_key, rotate_key
from mlratchet.infra.settings import Settings
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.ports.storage import StorageError
from mlratchet.tasks.actions.keys import revoke
from pydantic import SecretStr

from tests.unit.audit.conftest import World


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A fresh installation."""
    made = Settings(
        home=tmp_path, s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"), mlflow_tracking_uri="m",
        prefect_api_url="p",
    )  # fmt: skip
    ensure_pipeline_key(made)
    return made


@pytest.fixture
def installed(world: World, settings: Settings) -> World:
    """The world's history again, signed by the installation's key at days 0, 1, 2 and 3 of its life."""
    made = World(world.rows)
    keys: Any = InstalledKeys(settings)
    made.keys = keys
    began_s = next(iter(keys.trusted())).valid_from_s
    for day, step in enumerate((made.promote, made.promote, made.roll_back, made.promote)):
        made.now_s = began_s + day * 86_400
        step((1, 2, 1, 3)[day])
        written_at(made, day + 1, made.now_s)
    return made


def written_at(world: World, generation: int, at_s: float) -> None:
    """By the clock of the store, which nobody but its owner sets."""
    key = entry_key("digits", generation)
    world.store._objects[key] = (world.store.get(key), at_s)


def adapters(world: World, settings: Settings, **more: Any) -> Any:
    return SimpleNamespace(**{"settings": settings, "store": world.store, **more})


def test_what_is_older_than_the_theft_stays_believed(installed: World, settings: Settings) -> None:
    old = InstalledKeys(settings).signer().key_id
    began_s = next(iter(InstalledKeys(settings).trusted())).valid_from_s
    key, notes = revoke(adapters(installed, settings), old, reason="stolen", since_s=began_s + 2.5 * 86_400)
    assert notes == []
    assert key.anchors["digits"].generation == 3
    report = installed.audit(trusted=InstalledKeys(settings).trusted())
    assert "digits/00000004.json: signed after key" in report.line()  # dated after the theft
    installed.store.delete(entry_key("digits", 4))
    assert installed.audit(trusted=InstalledKeys(settings).trusted()).passed
    rotate_key(settings, "pipeline", None, now_s=began_s + 3 * 86_400)
    keys: Any = InstalledKeys(settings)
    installed.keys, installed.now_s = keys, began_s + 4 * 86_400
    installed.promote(4)
    report = installed.audit(trusted=keys.trusted())
    assert report.passed, report.line()
    assert report.generations == 4


def test_revoking_again_never_believes_more(installed: World, settings: Settings) -> None:
    old = InstalledKeys(settings).signer().key_id
    began_s = next(iter(InstalledKeys(settings).trusted())).valid_from_s
    revoke(adapters(installed, settings), old, reason="stolen", since_s=began_s + 1.5 * 86_400)
    key, _ = revoke(adapters(installed, settings), old, reason="stolen", since_s=began_s + 9 * 86_400)
    assert key.anchors["digits"].generation == 2
    key, _ = revoke(adapters(installed, settings), old, reason="earlier", since_s=began_s + 0.5 * 86_400)
    assert key.anchors["digits"].generation == 1


def test_without_the_bucket_nothing_is_believed_until_it_answers(installed: World, settings: Settings) -> None:
    class Away:
        def list(self, _prefix: str) -> Any:
            raise StorageError("the server is away")

    old = InstalledKeys(settings).signer().key_id
    began_s = next(iter(InstalledKeys(settings).trusted())).valid_from_s
    key, notes = revoke(adapters(installed, settings, store=Away()), old, reason="stolen", since_s=began_s + 9e9)
    assert (key.state(), key.anchors) == ("revoked", {})
    assert "the bucket does not answer" in notes[0]
    assert not installed.audit(trusted=InstalledKeys(settings).trusted()).passed
    key, notes = revoke(adapters(installed, settings), old, reason="stolen", since_s=began_s + 9e9)
    assert (key.anchors["digits"].generation, notes) == (4, [])
    assert installed.audit(trusted=InstalledKeys(settings).trusted()).passed


def test_entries_of_a_clock_that_was_ahead_are_told_apart_by_the_clock_of_the_store(
    world: World, settings: Settings
) -> None:
    """Dated a year ahead, and written before the theft: nobody is locked out of them."""
    made = World(world.rows)
    keys: Any = InstalledKeys(settings)
    made.keys, old = keys, keys.signer().key_id
    began_s = next(iter(keys.trusted())).valid_from_s
    for day, version in enumerate((1, 2, 3)):
        made.now_s = began_s + (365 + day) * 86_400
        made.promote(version)
        written_at(made, day + 1, began_s + day * 86_400)
    rotate_key(settings, "pipeline", None, now_s=began_s + 1.2 * 86_400)  # in good order: all of it verifies
    assert made.audit(trusted=keys.trusted()).passed
    key, notes = revoke(adapters(made, settings), old, reason="stolen", since_s=began_s + 1.5 * 86_400)
    assert (key.anchors["digits"].generation, notes) == (2, [])
    report = made.audit(trusted=keys.trusted())
    assert "digits/00000003.json: signed after key" in report.line()
    made.store.delete(entry_key("digits", 3))
    assert made.audit(trusted=keys.trusted()).passed
