"""Faults 44 and 45: what people and thieves edit, and repairs that are killed themselves. By the command line."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.identity.canonical import digest

from tests.conftest import Stack
from tests.faults.promotions import Scene

pytestmark = [pytest.mark.stack, pytest.mark.slow]


@pytest.fixture
def scene(stack: Stack) -> Scene:
    """Three versions in the stack's own bucket; 1 was champion, 2 is."""
    name = f"edited-{uuid.uuid4().hex[:8]}"
    adapters = stack.adapters
    run_id = adapters.tracker.open_run(name, work_key=name, flow_run="f", name="n", tags={})
    adapters.tracker.end_run(run_id, status="FINISHED")
    made = Scene(name, adapters.store, adapters.registry, run_id, keys=adapters.keys)
    first, second, _ = made.register(3)
    made.promote(first, 0)
    made.promote(second, 1)
    made.reconcile()
    return made


def mine(scene: Scene, lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(f"{scene.name}:")]


def aliases(scene: Scene) -> dict[str, int]:
    return {alias: one.version for one in scene.registry.list_versions(scene.name) for alias in one.aliases}


def test_an_edited_alias_is_repaired_and_a_repair_that_is_killed_is_ended_by_the_next(stack: Any, scene: Scene) -> None:
    right = aliases(scene)
    for alias, wrong in (("champion", 3), ("previous", 3), ("candidate", 1)):
        scene.registry.set_alias(scene.name, alias, wrong)
    scene.registry.set_tags(scene.name, 2, {"ratchet.decision.champion": "forged"})
    stack("reconcile", code=137, RATCHET_FAULT="promote.after_alias_champion:crash")
    lines = mine(scene, stack.json("reconcile"))
    assert any("alias previous moved to version 1" in line for line in lines)  # after the champion, where it was killed
    assert aliases(scene) == right
    assert scene.reconcile() == []


def test_a_cut_ledger_is_refused_and_nothing_follows_it(stack: Any, scene: Scene) -> None:
    right, key = aliases(scene), f"ledger/{scene.name}/00000002.json"
    newest = scene.store.get(key)
    scene.store.delete(key)
    try:
        refused = stack("reconcile", code=6).stderr
        assert f"SECURITY: ledger/{scene.name}: entry" in refused
        assert "its tail was cut or rewritten" in refused
        again = stack("promote", scene.name, "1", code=6).stderr  # the champion of what is left
        assert "its tail was cut or rewritten" in again
        assert aliases(scene) == right
    finally:
        scene.store.put(key, newest)
    assert mine(scene, stack.json("reconcile")) == []


def test_a_rollback_to_bytes_that_are_gone_or_changed_moves_nothing(stack: Any, scene: Scene) -> None:
    store = scene.store
    weights = f"artifacts/{scene.name}/1/data/model.pt2"
    kept = store.get(weights)
    store.put(weights, b"other bytes")
    assert "it was changed" in stack("rollback", scene.name, code=6).stderr
    store.delete(weights)
    assert "data/model.pt2 of the manifest is gone" in stack("rollback", scene.name, code=6).stderr
    assert len(stack.adapters.ledger.entries(scene.name)) == 2
    store.put(weights, kept)


def test_a_rollback_works_while_mlflow_is_away_and_aliases_follow_later(stack: Any, scene: Scene) -> None:
    away = {"RATCHET_MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    entry = stack.json("rollback", scene.name, **away)
    assert (entry["action"], entry["version"], entry["generation"]) == ("rollback", 1, 3)
    assert "aliases follow with `ratchet reconcile`" in entry["follows"]
    assert aliases(scene)["champion"] == 2
    assert mine(scene, stack.json("reconcile")) != []
    assert (aliases(scene)["champion"], aliases(scene)["previous"]) == (1, 2)


def test_a_collector_that_is_killed_is_ended_by_the_next(stack: Any, scene: Scene) -> None:
    work = digest([scene.name, 1])
    parts = [f"work/{work}/e000001/checkpoints/000000001/{part}" for part in ("marker.json", "part.safetensors")]
    for part in parts:
        scene.store.put(part, b"{}")
    stack("gc", "--delete", code=137, RATCHET_FAULT="gc.after_delete:crash")
    stack("gc", "--delete")
    assert not set(parts) & held(stack.adapters.store, work)
    assert stack.json("gc") == []
    scene.reconcile()
    assert scene.reconcile() == []


def held(store: S3Store, work: str) -> set[str]:
    return {info.key for info in store.list(f"work/{work}/")}
