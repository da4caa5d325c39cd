"""What commit 9309f01 wrote is unsigned: a person takes it over once, and nobody takes over what contradicts a gate."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from mlratchet.flows.runs.report import Report
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.models.data.dataset import load_dataset
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore, UnsignedRecord, bare
from mlratchet.models.identity.signing import Signer
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.promotion.registered import promoted_registration
from mlratchet.models.registration.record import find_registration, list_registrations
from mlratchet.tasks.actions.adopt import adopt
from mlratchet.tasks.support.versions import registration_of

from tests.fixtures.stored_bucket import BUCKET_9309F01, StoredBucket

NAME = "sites"


class Upgraded:
    """The bucket of then, opened by who believes signed records alone."""

    def __init__(self) -> None:
        self.stored = StoredBucket(BUCKET_9309F01)
        self.person = Signer.generate()
        self.keys = MemoryKeys(trusted=self.stored.trusted.replacing(public_half(self.person, "approver", "bea")))
        self.store = RecordStore(self.stored.store, self.keys)

    @property
    def adapters(self) -> Any:
        made = self.stored.adapters()
        settings = SimpleNamespace(pipelines_dir=BUCKET_9309F01)
        return SimpleNamespace(
            settings=settings,
            **{**vars(made), "store": self.store, "keys": self.keys, "ledger": ObjectLedger(self.store, self.keys)},
        )

    def adopt(self) -> dict[str, Any]:
        return adopt(self.adapters, NAME, signer=self.person, owner="bea")

    def edit(self, key: str, **fields: Any) -> None:
        document = json.loads(self.stored.store.get(key))
        self.stored.store.put(key, canonical_json({**document, **fields}))


@pytest.fixture
def site() -> Upgraded:
    return Upgraded()


def test_what_was_promoted_is_known_by_the_ledger_and_the_rest_waits_for_a_person(site: Upgraded) -> None:
    entries = site.adapters.ledger.entries(NAME)
    for entry in entries:
        record = promoted_registration(site.store, entry, entries)
        assert record is not None
        assert record.version == entry.version
        assert registration_of(site.adapters, NAME, entry.version) == record
        assert find_registration(site.store, entry.work_key) is None
        with pytest.raises(UnsignedRecord, match="ratchet adopt"):
            load_dataset(site.store, record.dataset_id)


def test_a_person_takes_it_over_and_everything_is_believed_as_it_was(site: Upgraded) -> None:
    before = list_registrations(bare(site.store))[NAME]
    made = site.adopt()
    assert made["by"] == "bea"
    assert list_registrations(site.store)[NAME] == before
    for record in before:
        assert load_dataset(site.store, record.dataset_id).id == record.dataset_id
        assert list_gate_runs(site.store, record.work_key)
        assert any(f"version {record.version}: the rows it was trained" in line for line in made["unchecked"])
    with pytest.raises(ConfigurationError, match="every record in ratchet-store is signed"):
        site.adopt()
    site.edit(f"datasets/{before[0].dataset_id}.json", target_counts={})  # afterwards
    with pytest.raises(UnsignedRecord):
        load_dataset(site.store, before[0].dataset_id)


def test_a_list_that_no_approver_signed_takes_nothing_over(site: Upgraded) -> None:
    adopt(site.adapters, NAME, signer=Signer.generate(), owner="mallory")
    assert list_registrations(site.store) == {}


def test_a_champions_record_that_was_changed_is_refused_whoever_adopts(site: Upgraded) -> None:
    record = list_registrations(bare(site.store))[NAME][4]
    entries = site.adapters.ledger.entries(NAME)
    entry = next(one for one in entries if one.version == record.version)
    site.edit(f"registrations/{record.work_key}.json", dataset_id="0" * 64, made_of=None)
    with pytest.raises(SecurityError, match="the registration was changed"):
        promoted_registration(site.store, entry, entries)
    with pytest.raises(SecurityError, match="nothing was taken over: version 5"):
        site.adopt()


@pytest.mark.parametrize("field", ["weights_sha256", "rows_key", "dataset_id", "snapshot_id"])
def test_nothing_is_taken_over_while_a_record_contradicts_a_gate(site: Upgraded, field: str) -> None:
    first, second = list_registrations(bare(site.store))[NAME][:2]
    site.edit(f"registrations/{first.work_key}.json", **{field: getattr(second, field), "made_of": None})
    with pytest.raises(SecurityError, match="nothing was taken over: version 1"):
        site.adopt()
    with pytest.raises(ObjectNotFound):
        load_dataset(site.store, second.dataset_id)


def test_a_dataset_with_other_test_rows_than_were_judged_is_refused(site: Upgraded) -> None:
    first = list_registrations(bare(site.store))[NAME][0]
    key = f"datasets/{first.dataset_id}.json"
    splits = json.loads(site.stored.store.get(key))["splits"]
    site.edit(key, splits={**splits, "test": splits["train"]})
    with pytest.raises(SecurityError, match="test rows, which are not the"):
        site.adopt()


def test_a_run_that_meets_an_unsigned_record_says_what_to_type(site: Upgraded) -> None:
    record = list_registrations(bare(site.store))[NAME][0]
    report = Report(run_id="r", pipeline=NAME)
    try:
        load_dataset(site.store, record.dataset_id)
    except UnsignedRecord as error:
        report = report.failed(error)
    assert report.facts["exit_code"] == 6
    assert report.facts["line"].endswith("makes one)")
    assert "`ratchet adopt sites`" in report.facts["line"]
