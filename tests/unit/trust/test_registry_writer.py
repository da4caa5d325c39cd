"""Who has the registry's API alone moves nothing that serves, and loses nothing that was registered."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.infra.artifact.exported import PROGRAM
from mlratchet.infra.keys.files import MemoryKeys
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.registry.memory import MemoryRegistry
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.infra.tracking.memory import MemoryTracker
from mlratchet.models.artifact.manifest import ArtifactManifest, publish_manifest
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.promotion.move import project, promote_version
from mlratchet.models.registration.numbers import number_key, take_number
from mlratchet.models.registration.record import Registration, publish_registration
from mlratchet.tasks.actions.rebuild import rebuild_registry
from mlratchet.tasks.actions.reconcile import reconcile_pipeline
from mlratchet.tasks.steps.register import MANIFEST, announce_upload, intact_version, number_of
from mlratchet.tasks.support.versions import registration_of

NAME = "digits"


class Site:
    """Three versions; 1 and 2 were promoted, 2 serves."""

    def __init__(self) -> None:
        self.keys, self.raw, self.uploads = MemoryKeys(), MemoryStore("store"), MemoryStore("mlflow")
        self.store = RecordStore(self.raw, self.keys)
        self.registry, self.tracker = MemoryRegistry(), MemoryTracker(self.uploads)
        self.ledger = ObjectLedger(self.raw, self.keys)
        self.records = [self.make(f"{number:064x}") for number in (1, 2, 3)]
        for at, record in enumerate(self.records[:2]):
            promote_version(self.ledger, record, decision="d", actor="a", reason="r", expected_generation=at)
        project(self.ledger, self.registry, NAME)
        self.reconcile()

    @property
    def adapters(self) -> Any:
        servers = SimpleNamespace(requested=lambda _: True, withdrawn=lambda _: None)
        return SimpleNamespace(
            store=self.store, registry=self.registry, ledger=self.ledger, tracker=self.tracker, servers=servers,
            bucket={"mlflow": self.uploads, "store": self.raw}.get,
        )  # fmt: skip

    @property
    def run(self) -> Any:
        return SimpleNamespace(adapters=self.adapters, spec=SimpleNamespace(name=NAME))

    def upload(self, work_key: str) -> tuple[str, ArtifactManifest]:
        data = work_key.encode()
        self.uploads.put(f"m-{work_key}/{PROGRAM}", data)
        manifest = ArtifactManifest(files={PROGRAM: digest_bytes(data)}, sizes_bytes={PROGRAM: len(data)})
        publish_manifest(self.store, manifest)
        announce_upload(self.store, work_key, f"s3://mlflow/m-{work_key}", manifest)
        return f"s3://mlflow/m-{work_key}", manifest

    def make(self, work_key: str) -> Registration:
        """As a run registers."""
        source, manifest = self.upload(work_key)
        number = number_of(self.run, work_key)
        self.registry.create_version(
            NAME, work_key=work_key, run_id="r", source_uri=source, model_id=None, description="", version=number,
            tags={MANIFEST: manifest.digest()},
        )  # fmt: skip
        record = Registration(
            name=NAME, version=number, work_key=work_key, run_id="r", model_id=None, source_uri=source,
            manifest=manifest.model_dump(mode="json"), manifest_digest=manifest.digest(), weights_key="k",
            weights_sha256="s", snapshot_id="s", dataset_id="d", rows_key="r", revision="v", parent_version=None,
            registered_s=0.0, tags={MANIFEST: manifest.digest()},
        )  # fmt: skip
        return publish_registration(self.store, record)

    def reconcile(self) -> list[str]:
        return reconcile_pipeline(self.adapters, NAME, self.records)

    def state(self) -> dict[int, Any]:
        """What people see, without the registry's own numbers."""
        return {v.version: (v.source_uri, v.origin, v.aliases) for v in self.registry.list_versions(NAME)}


@pytest.fixture
def site() -> Site:
    return Site()


EDITS: dict[str, Callable[[Site], None]] = {
    "the champion takes another's work key": lambda s: s.registry.edit_tags(NAME, 2, {"ratchet.work_key": f"{1:064x}"}),
    "an older champion takes the newest's": lambda s: s.registry.edit_tags(NAME, 1, {"ratchet.work_key": f"{3:064x}"}),
    "two versions change numbers": lambda s: [
        s.registry.edit_tags(NAME, a, {"ratchet.version": str(b)}) for a, b in ((1, 2), (2, 1))
    ] and None,
    "a version takes the champion's number": lambda s: s.registry.edit_tags(NAME, 3, {"ratchet.version": "2"}),
    "a number that is none": lambda s: s.registry.edit_tags(NAME, 2, {"ratchet.version": "9" * 400}),
    "another source is claimed": lambda s: s.registry.edit_tags(NAME, 2, {"ratchet.source_uri": "s3://mlflow/evil"}),
    "aliases move": lambda s: s.registry.set_alias(NAME, "champion", 3),
    "the champion is deleted": lambda s: s.registry.delete_version(NAME, 2),
    "the previous champion is deleted": lambda s: s.registry.delete_version(NAME, 1),
    "everything is deleted": lambda s: [s.registry.delete_version(NAME, n) for n in (1, 2, 3)] and None,
    "a foreign version claims the champion": lambda s: s.registry.create_version(
        NAME, work_key="x", run_id="r", source_uri="s3://mlflow/evil", model_id=None, description="",
        tags={"ratchet.version": "2"},
    ) and None,
}  # fmt: skip


def test_a_foreign_version_does_not_get_the_champions_alias_when_the_champion_was_deleted(site: Site) -> None:
    EDITS["a foreign version claims the champion"](site)
    site.registry.delete_version(NAME, 2)
    site.reconcile()
    holder = site.registry.get_alias(NAME, "champion")
    assert holder is not None
    assert (holder.version, holder.origin) == (2, site.records[1].source_uri)
    assert site.reconcile() == []


@pytest.mark.parametrize("edit", EDITS)
def test_whatever_was_edited_is_put_right_and_nothing_of_ours_is_lost(site: Site, edit: str) -> None:
    before = site.state()
    EDITS[edit](site)
    site.reconcile()
    after = site.state()
    assert {number: after[number] for number in (1, 2, 3)} == before
    assert site.reconcile() == []


def test_runs_and_promotions_go_on_while_the_champion_is_gone_from_the_registry(site: Site) -> None:
    site.registry.delete_version(NAME, 2)
    entry: LedgerEntry = promote_version(
        site.ledger, site.records[2], decision="d", actor="a", reason="r", expected_generation=2
    )
    assert any("version 2 is not in the registry" in line for line in project(site.ledger, site.registry, NAME))
    holder = site.registry.get_alias(NAME, "champion")
    assert holder is not None
    assert holder.version == entry.version == 3
    assert registration_of(site.adapters, NAME, 2) == site.records[1]


def test_another_versions_bytes_are_not_taken_for_the_work_under_way(site: Site) -> None:
    """Version 1 is given the tags of a work that is about to register: once its bytes became `version 4`."""
    work = f"{4:064x}"
    first = site.records[0]
    for number in (1, 3):
        site.registry.edit_tags(NAME, number, {"ratchet.work_key": work, MANIFEST: first.manifest_digest})
    assert intact_version(site.run, work, digest_bytes(work.encode())) is None
    source, manifest = site.upload(work)  # the work's own files are there, and so is the claim upon them
    site.registry.edit_tags(NAME, 1, {"ratchet.source_uri": source, MANIFEST: manifest.digest()})
    assert intact_version(site.run, work, digest_bytes(work.encode())) is None
    made = site.make(work)
    assert (made.version, made.manifest_digest) == (4, manifest.digest())
    held = site.registry.get_version(NAME, 4)
    assert (held.origin, held.number) == (source, 4)
    found = intact_version(site.run, work, digest_bytes(work.encode()))
    assert found is not None
    assert found[0].number == 4
    assert len(site.registry.list_versions(NAME)) == 4  # nothing was removed on the way


def test_a_planted_upload_is_no_upload(site: Site) -> None:
    work, first = f"{4:064x}", site.records[0]
    planted = {"manifest": first.manifest_digest, "model_id": "", "source_uri": first.source_uri}
    site.raw.put(f"work/{work}/uploads/u.json", canonical_json(planted))
    site.registry.edit_tags(NAME, 1, {"ratchet.work_key": work})
    assert intact_version(site.run, work, digest_bytes(work.encode())) is None


def test_a_registry_that_is_not_empty_is_filled_under_our_numbers(site: Site) -> None:
    before = site.state()
    site.registry = MemoryRegistry()
    for work in ("theirs", "others"):  # somebody registered meanwhile
        site.registry.create_version(
            NAME, work_key=work, run_id="r", source_uri=f"s3://mlflow/{work}", model_id=None, description="", tags={}
        )
    assert len(rebuild_registry(site.adapters)) == 3
    assert rebuild_registry(site.adapters) == []
    site.reconcile()
    ours = {v.version: (v.source_uri, v.origin, v.aliases) for v in site.registry.list_versions(NAME) if v.number > 2}
    assert ours == before
    assert len(site.registry.list_versions(NAME)) == 5


def test_a_number_is_given_once_whatever_the_registry_and_a_stranger_say(site: Site) -> None:
    assert take_number(site.store, NAME, f"{1:064x}", taken=()) == 1
    site.raw.put(number_key(NAME, 900), b"{}")
    site.registry.edit_tags(NAME, 3, {"ratchet.version": "70"})
    assert [take_number(site.store, NAME, work, taken=()) for work in ("a", "b", "a")] == [4, 5, 4]
    assert take_number(site.store, NAME, "c", taken=(7,)) == 8


def test_numbers_go_on_where_they_were_not_written_down(site: Site) -> None:
    for number in (1, 2, 3):
        site.raw.delete(number_key(NAME, number))
    assert take_number(site.store, NAME, "new", taken=(2,)) == 4
