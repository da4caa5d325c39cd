"""Faults 11 and 19: a process that comes late publishes nothing, and a version without its bytes is not taken up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.artifact.exported import PROGRAM
from mlratchet.infra.machine.scratch import is_gone, lease_of
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.garbage.lock import collecting
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.claim import take_claim
from mlratchet.models.training.job import StaleAttemptError
from mlratchet.tasks.steps.register import MANIFEST, announce_upload, intact_version
from mlratchet.tasks.wiring import Run


def run_of(store: MemoryStore, *, lapsed: bool) -> Any:
    """A run after its claim, without a flow around it."""
    run: Any = Run.__new__(Run)
    run.adapters, run.run_id, run._collections = SimpleNamespace(store=store), "r", frozenset()
    run.lease = SimpleNamespace(lapsed=lapsed)
    run.claim = take_claim(store, "w", parent_version=None, owner="ada", now_s=0.0, run="r")
    return run


def test_a_run_whose_work_was_taken_over_publishes_nothing(store: MemoryStore) -> None:
    run = run_of(store, lapsed=False)
    run.refuse_if_stale()
    take_claim(store, "w", parent_version=None, owner="eve", now_s=0.0, run="other")
    with pytest.raises(StaleAttemptError, match=r"a newer attempt has work w; this one \(epoch 1\) ends"):
        run.refuse_if_stale()


@pytest.mark.parametrize("lapsed", [False, True])
@pytest.mark.parametrize("collected", [False, True])
def test_a_run_that_was_silent_while_garbage_was_collected_publishes_nothing(
    store: MemoryStore, lapsed: bool, collected: bool
) -> None:
    run = run_of(store, lapsed=lapsed)
    if collected:
        with collecting(store, lease_of("c", "gc", "ada"), is_gone=is_gone):
            pass
    if lapsed and collected:
        with pytest.raises(StaleAttemptError, match="no sign of life for a minute and `ratchet gc` has run meanwhile"):
            run.refuse_if_stale()
    else:
        run.refuse_if_stale()


@pytest.mark.parametrize("damage", ["none", "gone", "changed", "extra", "no manifest"])
def test_a_version_that_was_made_and_not_recorded_is_taken_up_if_it_is_whole(store: MemoryStore, damage: str) -> None:
    registry, data = MemoryRegistry(), b"weights"
    manifest = ArtifactManifest(files={PROGRAM: digest_bytes(data)}, sizes_bytes={PROGRAM: len(data)})
    if damage != "no manifest":
        publish_manifest(store, manifest)
    announce_upload(store, "w", "s3://store/a", manifest)
    if damage != "gone":
        store.put(f"a/{PROGRAM}", b"other" if damage == "changed" else data)
    if damage == "extra":
        store.put("a/extra.pkl", b"x")
    made = registry.create_version(
        "digits", work_key="w", run_id="r", source_uri="s3://store/a", model_id=None, description="",
        tags={MANIFEST: manifest.digest()},
    )  # fmt: skip
    adapters = SimpleNamespace(store=store, registry=registry, bucket=lambda _: store)
    run: Any = SimpleNamespace(adapters=adapters, spec=SimpleNamespace(name="digits"))
    found = intact_version(run, "w", digest_bytes(data))
    assert intact_version(run, "w", "another program than was scored") is None
    assert found == ((made, manifest) if damage == "none" else None)
    assert registry.list_versions("digits") == [made]  # what nobody was promised is left to who looks after it
