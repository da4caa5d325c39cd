"""Faults 28 to 30, 32, 36, 38: replies that never come, come late, or say what is not so.

A proxy stands in front of the real MLflow and the real S3. Whatever is lost, a work key has one version and a
generation one entry, and doing it again changes nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.registry.mlflow import MlflowRegistry
from mlratchet.infra.storage.s3 import S3Store
from mlratchet.models.identity.canonical import digest
from mlratchet.models.ledger.entry import LedgerConflict
from mlratchet.models.ports.registry import ModelVersion, RegistryError
from mlratchet.models.ports.storage import ObjectExists, StorageError
from mlratchet.models.promotion.follow import project_versions
from mlratchet.models.registration.record import Registration, publish_registration

from tests.conftest import Stack, wait_for
from tests.faults.promotions import Scene
from tests.faults.proxy import Kind, Proxy, proxy_of

pytestmark = pytest.mark.stack
CREATE = "/model-versions/create"


@pytest.fixture
def mlflow(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """In front of MLflow; the client does not try again by itself."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with proxy_of(stack.settings.mlflow_tracking_uri) as proxy:
        yield proxy


@pytest.fixture
def s3(stack: Stack) -> Iterator[Proxy]:
    """In front of S3."""
    assert stack.settings.s3_endpoint_url is not None
    with proxy_of(stack.settings.s3_endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def run_id(stack: Stack) -> str:
    tracker = stack.adapters.tracker
    found = tracker.open_run("replies", work_key="replies", flow_run="f", name="n", tags={})
    tracker.end_run(found, status="FINISHED")
    return found


def through(stack: Stack, proxy: Proxy) -> S3Store:
    """A bucket for these tests, by way of the proxy. One for all: a bucket of SeaweedFS takes volumes of its own."""
    settings = stack.settings
    store = S3Store(
        "faults",
        endpoint_url=proxy.url,
        region=settings.s3_region,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
    )
    store.ensure_bucket()
    return store


def register(registry: MlflowRegistry, name: str, work_key: str, run_id: str) -> ModelVersion:
    """As the task's retry does: again after a failure of the server."""
    for last in (False, False, True):
        try:
            return registry.create_version(
                name, work_key=work_key, run_id=run_id, source_uri="s3://b/m", model_id=None, description="", tags={}
            )
        except RegistryError:
            if last:
                raise
    raise AssertionError("unreachable")


@pytest.mark.parametrize("kind", ["error after", "drop reply", "slow reply", "cut"])
def test_a_work_key_is_registered_once_whichever_reply_of_mlflow_is_lost(
    stack: Stack, mlflow: Proxy, run_id: str, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faults 28, 29, 30: at every request of a registration in turn."""
    registry = MlflowRegistry(mlflow.url)
    name = unique()
    register(registry, name, "first", run_id)
    before = len(mlflow.requests)
    register(registry, name, "counted", run_id)
    requests = len(mlflow.requests) - before
    assert requests >= 4  # search, create model, create version, search
    for at in range(requests):
        fault = mlflow.arm(kind, skip=at, seconds=2.5)
        with monkeypatch.context() as patience:
            patience.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2" if kind == "slow reply" else "60")
            version = register(registry, name, f"key-{at}", run_id)
        assert fault.met == 1
        mlflow.heal()
        assert register(registry, name, f"key-{at}", run_id).version == version.version == at + 3
    made = [v.tags["ratchet.work_key"] for v in stack.adapters.registry.list_versions(name)]
    assert made == ["first", "counted", *(f"key-{at}" for at in range(requests))]


def test_a_request_that_mlflow_answers_after_the_next_one_leaves_one_version(
    stack: Stack, mlflow: Proxy, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fault 30 at its worst: the first create arrives when the second one is done."""
    registry, name = MlflowRegistry(mlflow.url), unique()
    scene = Scene(name, through_nothing(stack), registry, run_id)
    key = digest([name, 1])
    mlflow.arm("slow request", path=CREATE, seconds=6.0)
    with monkeypatch.context() as patience:
        patience.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        (record,) = retried(scene)
    wait_for("the slow request to be done", lambda: len(stack.adapters.registry.list_versions(name)) == 2)
    direct = stack.adapters.registry
    assert [v.tags["ratchet.work_key"] for v in direct.list_versions(name)] == [key, key]
    repaired = project_versions(scene.store, direct, name, [record], [])
    assert any("registered twice" in line for line in repaired)
    assert [v.version for v in direct.list_versions(name)] == [record.version] == [1]  # I1
    assert project_versions(scene.store, direct, name, [record], []) == []  # I10


def through_nothing(stack: Stack) -> S3Store:
    """The same bucket, directly."""
    store = stack.adapters.bucket("faults")
    store.ensure_bucket()
    return store


def unique() -> str:
    return f"replies-{uuid.uuid4().hex[:10]}"


def retried(scene: Scene) -> list[Registration]:
    """A registration, tried again after a failure."""
    try:
        return scene.register(1)
    except RegistryError:
        return scene.register(1)


@pytest.mark.parametrize(("kind", "point"), [("error after", "alias"), ("drop reply", "set-tag")])
def test_a_promotion_whose_projection_fails_stands_and_is_repaired(
    stack: Stack, mlflow: Proxy, run_id: str, tmp_path: Path, kind: Kind, point: str
) -> None:
    """Fault 12 by way of the network."""
    registry, name = MlflowRegistry(mlflow.url), unique()
    scene = Scene(name, through_nothing(stack), registry, run_id)
    first, second = scene.register(2)
    scene.promote(first, 0)
    decision = scene.decide(second, first.version)
    fault = mlflow.arm(kind, path=point, method="POST")
    with pytest.raises(RegistryError):
        scene.promote(second, 1, decision)
    assert fault.met == 1
    assert scene.promote(second, 1, decision).generation == 2  # the task's retry
    scene.reconcile()
    scene.check(tmp_path, 2)


@pytest.mark.parametrize("kind", ["drop reply", "error after", "conflict", "cut"])
def test_a_promotion_is_one_entry_whatever_s3_answers(stack: Stack, s3: Proxy, tmp_path: Path, kind: Kind) -> None:
    """Faults 32, 36, 38."""
    scene = Scene(unique(), through(stack, s3), MemoryRegistry())
    first, second = scene.register(2)
    fault = s3.arm(kind, method="PUT", path="/ledger/", times=2)
    entry = scene.promote(first, 0)
    assert fault.met == 2 if kind in ("conflict", "cut") else fault.met >= 1
    s3.heal()
    assert entry.generation == 1
    with pytest.raises(LedgerConflict, match="version 1 by actor-1"):
        scene.promote(second, 0)
    scene.reconcile()
    scene.check(tmp_path, 1)


def test_a_lost_reply_to_a_create_is_told_from_a_lost_race(stack: Stack, s3: Proxy) -> None:
    """Fault 32, for every other marker: registrations, manifests, claims."""
    store = through(stack, s3)
    s3.arm("drop reply", method="PUT", path="/registrations/")
    scene = Scene(unique(), store, MemoryRegistry())
    (record,) = scene.register(1)
    later = record.model_copy(update={"registered_s": record.registered_s + 1})
    assert publish_registration(store, later) == record  # the first one stands
    s3.arm("drop reply", method="PUT", path="/marker")
    key = f"marker/{unique()}"
    store.create(key, b"mine")
    with pytest.raises(ObjectExists):
        store.create(key, b"theirs")


def test_a_partition_is_an_error_and_leaves_nothing_half_done(stack: Stack, s3: Proxy, tmp_path: Path) -> None:
    """Fault 38: nothing gets through, then latency, then all is well."""
    store = through(stack, s3)
    scene = Scene(unique(), store, MemoryRegistry())
    (record,) = scene.register(1)
    decision = scene.decide(record, None)
    s3.arm("cut", times=10_000)
    with pytest.raises(StorageError, match="is the server up"):
        scene.promote(record, 0, decision)
    s3.heal()
    assert scene.ledger().entries(scene.name) == []
    s3.arm("slow request", times=10_000, seconds=0.05)
    assert scene.promote(record, 0, decision).generation == 1
    s3.heal()
    scene.reconcile()
    scene.check(tmp_path, 1)


def test_a_partition_right_after_the_entry_is_found_by_the_retry(stack: Stack, s3: Proxy, tmp_path: Path) -> None:
    """The entry is written, and then nobody answers for a while: not even to say so."""
    store = through(stack, s3)
    scene = Scene(unique(), store, MemoryRegistry())
    (record,) = scene.register(1)
    decision: Any = scene.decide(record, None)
    s3.arm("drop reply", method="PUT", path="/ledger/")
    s3.arm("cut", skip=1, times=10_000)
    with pytest.raises(StorageError):
        scene.promote(record, 0, decision)
    s3.heal()
    assert scene.promote(record, 0, decision).generation == 1
    scene.reconcile()
    scene.check(tmp_path, 1)
