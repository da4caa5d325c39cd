"""An empty registry and tracker are filled again from the bucket alone, also when the rebuild dies in the middle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models import fault_points
from mlratchet.models.fault_points import InjectedFault
from mlratchet.models.promotion.follow import project_versions
from mlratchet.models.promotion.move import project, promote_version
from mlratchet.models.registration.record import Registration, publish_registration
from mlratchet.models.registration.tracking import TrackingRecord, publish_tracking
from mlratchet.tasks.actions.rebuild import rebuild_registry

KEYS = MemoryKeys()


def publish(store: MemoryStore, version: int) -> Registration:
    key = f"w{version}"
    tracking = TrackingRecord(
        experiment="digits", run_name=f"digits-{key}", work_key=key, parameters={"epochs": "2"},
        points=(("train_loss", 0.5, 1, 10.0), ("train_loss", 0.25, 2, 20.0), ("test_accuracy", 0.9, 0, 21.0)),
        dataset_name="digits", dataset_digest="abc", dataset_uri="s3://raw/digits",
    )  # fmt: skip
    return publish_registration(
        store,
        Registration(
            name="digits", version=version, work_key=key, run_id=f"lost-{version}", model_id=None,
            source_uri=f"s3://mlflow/m-{version}", manifest={}, manifest_digest=f"m{version}", weights_key="k",
            weights_sha256="s", snapshot_id="s", dataset_id="d", rows_key="r", revision="v", parent_version=None,
            registered_s=1000.0 + version, description="# card", tags={"ratchet.snapshot": f"s{version}"},
            tracking=publish_tracking(store, tracking),
        ),
    )  # fmt: skip


def empty(store: MemoryStore) -> Any:
    return SimpleNamespace(
        store=store, ledger=ObjectLedger(store, KEYS), registry=MemoryRegistry(),
        tracker=MemoryTracker(MemoryStore("mlflow")),
    )  # fmt: skip


def test_versions_runs_aliases_and_tags_come_back_under_their_numbers(store: MemoryStore) -> None:
    records = [publish(store, version) for version in (1, 2, 5)]  # 3 and 4 were never registered
    ledger = ObjectLedger(store, KEYS)
    for at, record in enumerate(records):
        promote_version(ledger, record, decision=f"d{at}", actor="a", reason="r", expected_generation=at)
    lost = empty(store)
    for point in range(3):  # dies after each version, and goes on
        fault_points.arm("rebuild.after_version", "raise")
        with pytest.raises(InjectedFault):
            rebuild_registry(lost)
        assert len(lost.registry.list_versions("digits")) == point + 1
    assert rebuild_registry(lost) == []
    project(ledger, lost.registry, "digits")
    project_versions(store, lost.registry, "digits", records, ledger.entries("digits"))
    shown = {v.version: v for v in lost.registry.list_versions("digits")}
    assert sorted(shown) == [1, 2, 5]
    assert shown[5].aliases == ("candidate", "champion")
    assert shown[2].aliases == ("previous",)
    assert shown[2].tags["ratchet.snapshot"] == "s2"
    assert shown[2].source_uri == "s3://mlflow/m-2"
    runs = lost.tracker._runs
    assert len(runs) == 3
    run = runs[shown[1].run_id]
    assert (run.status, run.params, run.tags["ratchet.original_run"]) == ("FINISHED", {"epochs": "2"}, "lost-1")
    assert run.metrics == [("train_loss", 0.5, 1), ("train_loss", 0.25, 2), ("test_accuracy", 0.9, 0)]
    assert run.datasets == [("digits", "abc", "s3://raw/digits")]


def test_a_record_from_before_tracking_was_kept_has_a_bare_run(store: MemoryStore) -> None:
    record = publish(store, 1).model_copy(update={"tracking": None, "work_key": "old"})
    other = MemoryStore("other")
    publish_registration(other, record)
    lost = empty(other)
    assert rebuild_registry(lost) == ["digits: version 1 restored from registrations/old.json"]
    (run,) = lost.tracker._runs.values()
    assert (run.status, run.metrics) == ("FINISHED", [])
