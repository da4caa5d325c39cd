"""One contract over every registry: memory and MLflow."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.models.ports.registry import (
    ALIASES,
    ModelVersion,
    Registry,
    RegistryError,
    VersionNotFound,
    restore_version,
)


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.stack)])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "memory":
        return MemoryRegistry()
    found: Registry = request.getfixturevalue("stack").adapters.registry
    return found


@pytest.fixture
def name() -> str:
    return f"model-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def run_id(request: pytest.FixtureRequest, registry: Registry) -> str:
    if isinstance(registry, MemoryRegistry):
        return "run"
    tracker: Any = request.getfixturevalue("stack").adapters.tracker
    found: str = tracker.open_run("contract", work_key=uuid.uuid4().hex, flow_run="f", name="n", tags={})
    tracker.end_run(found, status="FINISHED")
    return found


def create(registry: Registry, name: str, work_key: str, run_id: str) -> ModelVersion:
    return registry.create_version(
        name, work_key=work_key, run_id=run_id, source_uri="s3://ratchet-mlflow/m", model_id=None, description="# card",
        tags={"ratchet.snapshot": "s"},
    )  # fmt: skip


def test_a_work_key_has_one_version(registry: Registry, name: str, run_id: str) -> None:
    made = [create(registry, name, key, run_id).version for key in ("a", "b", "a")]
    assert made == [1, 2, 1]
    found = registry.find_version(name, "b")
    assert found is not None
    assert (found.version, found.run_id, found.source_uri) == (2, run_id, "s3://ratchet-mlflow/m")
    assert registry.find_version(name, "c") is None
    assert registry.find_version("no-such-model", "a") is None


def test_versions_carry_tags_and_aliases(registry: Registry, name: str, run_id: str) -> None:
    for key in ("a", "b"):
        create(registry, name, key, run_id)
    registry.set_tags(name, 2, {"ratchet.decision": "d"})
    registry.set_alias(name, "champion", 1)
    registry.set_alias(name, "candidate", 2)
    registry.set_alias(name, "champion", 2)
    versions = registry.list_versions(name)
    assert [v.version for v in versions] == [1, 2]
    assert versions[0].aliases == ()
    assert set(versions[1].aliases) == {"candidate", "champion"}
    assert versions[1].tags["ratchet.decision"] == "d"
    assert versions[1].tags["ratchet.work_key"] == "b"
    assert versions[1].created_s > 1e9
    assert registry.list_versions("no-such-model") == []
    assert registry.newest_versions(name, 1) == versions[1:]
    assert registry.newest_versions(name, 3) == versions
    assert registry.newest_versions("no-such-model", 3) == []


def test_aliases_are_four_lower_case_names(registry: Registry, name: str, run_id: str) -> None:
    create(registry, name, "a", run_id)
    for alias in ALIASES:
        assert registry.get_alias(name, alias) is None
        registry.set_alias(name, alias, 1)
        holder = registry.get_alias(name, alias)
        assert holder is not None
        assert holder.version == 1
        registry.delete_alias(name, alias)
        registry.delete_alias(name, alias)
        assert registry.get_alias(name, alias) is None
    for bad in ("Champion", "latest", "prod", ""):
        with pytest.raises(ValueError, match="not one of"):
            registry.set_alias(name, bad, 1)


def test_an_unknown_version_names_those_there_are(registry: Registry, name: str, run_id: str) -> None:
    create(registry, name, "a", run_id)
    with pytest.raises(VersionNotFound, match="no version 7; there are 1"):
        registry.get_version(name, 7)
    with pytest.raises(RegistryError):
        registry.set_alias(name, "champion", 7)


def test_a_model_keeps_tags_of_its_own(registry: Registry, name: str, run_id: str) -> None:
    assert registry.model_tags(name) == {}
    with pytest.raises(RegistryError):
        registry.set_model_tags(name, {"ratchet.head": "d"})
    create(registry, name, "a", run_id)
    registry.set_model_tags(name, {"ratchet.head": "d1"})
    registry.set_model_tags(name, {"ratchet.head": "d2"})
    assert registry.model_tags(name)["ratchet.head"] == "d2"


def test_a_deleted_version_takes_its_aliases_and_its_number_along(registry: Registry, name: str, run_id: str) -> None:
    for key in ("a", "b"):
        create(registry, name, key, run_id)
    registry.set_alias(name, "candidate", 2)
    for _ in range(2):
        registry.delete_version(name, 2)
    assert [v.version for v in registry.list_versions(name)] == [1]
    assert registry.get_alias(name, "candidate") is None
    assert registry.find_version(name, "b") is None
    assert create(registry, name, "c", run_id).version == 3


def restore(registry: Registry, name: str, version: int, work_key: str, run_id: str) -> ModelVersion:
    return restore_version(
        registry, name, version, work_key=work_key, run_id=run_id, source_uri="s3://ratchet-mlflow/m",
        description="# card", tags={"ratchet.snapshot": "s"},
    )  # fmt: skip


def test_versions_are_restored_under_our_numbers_whatever_the_registry_counts(
    registry: Registry, name: str, run_id: str
) -> None:
    for version, key in ((2, "b"), (5, "e"), (2, "b"), (3, "c")):
        made = restore(registry, name, version, key, run_id)
        assert (made.version, made.tags["ratchet.work_key"], made.tags["ratchet.snapshot"]) == (version, key, "s")
        assert (made.run_id, made.source_uri) == (run_id, "s3://ratchet-mlflow/m")
    assert [v.version for v in registry.list_versions(name)] == [2, 3, 5]
    assert [registry.get_version(name, version).number for version in (2, 3, 5)] == [1, 3, 2]
    with pytest.raises(VersionNotFound, match="no version 1; there are 2, 3, 5"):
        registry.get_version(name, 1)
    registry.set_alias(name, "champion", 3)
    holder = registry.get_alias(name, "champion")
    assert holder is not None
    assert (holder.version, holder.number) == (3, 3)
    registry.set_tags(name, 5, {"t": "u"})
    assert [v.tags.get("t") for v in registry.list_versions(name)] == [None, None, "u"]
    registry.delete_version(name, 2)  # by the registry's own number
    assert [v.version for v in registry.list_versions(name)] == [2, 3]


def test_a_version_is_found_again_by_its_source_whoever_took_its_work_key(
    registry: Registry, name: str, run_id: str
) -> None:
    """Tags can be edited: another version that carries the work key is not the one that is made."""
    other = registry.create_version(
        name, work_key="a", run_id=run_id, source_uri="s3://ratchet-mlflow/other", model_id=None, description="",
        tags={},
    )  # fmt: skip
    registry.edit_tags(name, other.number, {"ratchet.work_key": "b"})
    made = create(registry, name, "b", run_id)
    assert (made.number, made.origin) == (2, "s3://ratchet-mlflow/m")
    assert create(registry, name, "b", run_id).number == 2


def test_registrations_at_once_of_different_work_get_different_versions(
    registry: Registry, name: str, run_id: str
) -> None:
    create(registry, name, "first", run_id)
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda key: create(registry, name, key, run_id).version, "abcd"))
    assert sorted(made) == [2, 3, 4, 5]
