"""Forgetting a person: everything that holds something of them goes, a signed record says so, and audits stay green."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.models.data.first_columns import FirstColumns, publish_first_columns
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.fault_points import InjectedFault, arm, disarm
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.erasures import erased_objects, erasures_of
from mlratchet.models.inference_log.reading import read_log
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.loading import parse_pipeline
from mlratchet.tasks.actions.forget import hashed_fields, marks_of, numbers_among, person_fields
from mlratchet.tasks.support.recorded_requests import requests_of

from tests.unit.audit.conftest import World
from tests.unit.tasks.forgetting import CLEAN, DELIVERY, FILE, OTHER, PERSON, Shop


@pytest.fixture
def shop(classified: Callable[..., RowOutputs], tmp_path: Path) -> Shop:
    """Version 2, which serves, was trained without the person's order."""
    made = Shop(classified, tmp_path)
    made.promote(2, made.deliver(CLEAN), input_example=json.dumps({"data": [[OTHER]]}))
    made.raw.put("shop/2026-11-01.csv", DELIVERY)  # as it was delivered once more
    return made


def test_a_dry_run_says_all_of_it_and_changes_nothing(shop: Shop) -> None:
    before = shop.everything()
    found = shop.forget(dry_run=True)
    assert shop.everything() == before
    assert (shop.home / "cache" / "shards" / "notes.json").exists()
    assert (found.records, found.log_rows, found.labels, found.cached) == (2, 1, 1, 2)
    assert found.objects == {
        "raw": 1, "copies of raw": 1, "labels": 1, "shards": 4, "quarantine": 1, "requests": 1, "findings": 1,
        "rows": 1, "pages": 2, "artifacts": 2, "snapshots": 1,
    }  # fmt: skip
    assert found.versions == (1,)
    assert set(shop.holding()) <= {
        *found.touched,
        *(name for name in shop.holding() if "/log/" in name or "cache" in name),
    }


def test_nothing_of_the_person_is_left_anywhere_and_the_others_are_as_they_were(shop: Shop) -> None:
    assert len(shop.holding()) > 10, "it is everywhere before"
    found = shop.forget()
    assert shop.holding() == []
    assert (found.waits_for, found.left) == (None, ())
    assert shop.raw.get("shop/2026-11-01.csv") == CLEAN, "byte for byte but their record"
    assert shop.raw.get("labels/1.csv") == b"request_id,row,label\nother,0,yes\n"
    log = read_log(shop.store, shop.world.keys, "digits", since_s=0, until_s=9e9)
    assert log.table["client_key"].to_pylist() == [OTHER]
    assert (shop.home / "cache" / "shards" / "other").exists()
    assert shop.world.uploads.exists("1/models/m-2/artifacts/signature.json")
    assert shop.forget().nothing


def test_the_record_names_digests_and_versions_and_nobody(shop: Shop) -> None:
    before = shop.everything()
    number = shop.forget().erasure
    (record,) = erasures_of(shop.store, "digits")
    assert (record.number, record.versions) == (number, (1,))
    for one in record.objects:
        assert one.before == digest_bytes(before[f"{one.bucket}/{one.key}"])
        after = shop.everything().get(f"{one.bucket}/{one.key}")
        assert one.after == (digest_bytes(after) if after is not None else "")
    assert PERSON not in record.model_dump_json()


def test_an_audit_says_erased_and_not_changed(shop: Shop) -> None:
    assert shop.world.audit(replay=True).passed
    shop.forget()
    report = shop.world.audit(replay=True)
    assert report.problems == []
    assert any("erased, not changed" in note for note in report.notes)
    assert report.retired == [1]
    gone = next(iter(one for one in erased_objects(shop.store) if one.startswith("store/rows/")))
    shop.world.store.delete(f"erasures/digits/{1:08d}.json")
    assert any(gone in problem for problem in shop.world.audit(replay=True).problems), "without a record it was removed"


def test_what_was_erased_excuses_nothing_else(shop: Shop) -> None:
    """A bucket writer knows the names of what was erased, and says them where he likes."""
    shop.forget()
    rows = next(iter(one for one in erased_objects(shop.store) if one.startswith("store/rows/")))
    forged = f"ledger/digits/99999999.json is away, see {rows}"
    shop.world.store.put(forged, b"{}")
    assert any("ledger/digits/99999999.json" in problem for problem in shop.world.audit().problems)
    shop.world.store.delete(forged)
    shop.world.store.put(rows.removeprefix("store/"), b"planted where they were")
    assert any(rows in problem for problem in shop.world.audit(replay=True).problems)
    shop.world.store.delete(rows.removeprefix("store/"))
    assert shop.world.audit(replay=True).passed


def test_requests_that_were_erased_are_asked_of_nobody(shop: Shop) -> None:
    shop.forget()
    assert requests_of(shop.store, shop.world.ledger.entries("digits"), 1) == []


@pytest.mark.parametrize("point", ["after_record", "after_object", "after_feedback", "after_delivery"])
def test_a_kill_in_the_middle_and_once_more_ends_the_same(shop: Shop, point: str) -> None:
    arm(f"forget.{point}", "raise")
    try:
        with pytest.raises(InjectedFault):
            shop.forget()
    finally:
        disarm()
    shop.forget()
    assert shop.holding() == []
    assert shop.world.audit(replay=True).problems == []


def test_what_the_champion_needs_stays_until_another_serves(
    classified: Callable[..., RowOutputs], tmp_path: Path
) -> None:
    shop = Shop(classified, tmp_path)
    found = shop.forget()
    assert (found.waits_for, found.versions) == (1, (1,))
    assert shop.raw.get("shop/2026-11-01.csv") == CLEAN, "a retrain learns it no more"
    assert shop.world.uploads.exists("1/models/m-1/artifacts/signature.json")
    assert shop.world.store.exists(f"datasets/{shop.theirs.id}.json")
    assert shop.world.audit(replay=True).passed
    shop.promote(2, shop.deliver(CLEAN), input_example="{}")
    assert shop.forget().waits_for is None
    assert shop.holding() == []
    assert shop.world.audit(replay=True).problems == []


def test_a_number_is_read_with_the_mark_that_its_column_has_and_hashed_fields_are_told(shop: Shop) -> None:
    numbers = FILE.replace("price: {kind: number}", "price: {kind: number}\n    card: {kind: number, decimal: '.'}")
    spec = parse_pipeline(
        numbers.replace("serving: {", "serving: {log: {fields: [price], others: hash}, "), where="digits.yaml"
    )
    told = FirstColumns(
        pipeline="digits", columns=("price", "card"), snapshot_id="s", at_s=1.0,
        number_marks={"price": ",", "card": ","},
    )  # fmt: skip
    publish_first_columns(shop.world.store, told, shop.world.keys.signer(), shop.world.keys.trusted())
    assert marks_of(shop.store, shop.world.keys, spec) == {"price": ",", "card": "."}
    assert numbers_among(("card", "order"), spec, {"card": "."}) == {"card": "."}
    assert hashed_fields(spec, ("card", "price", "order")) == [
        "log/digits: holds card as a keyed hash alone: rows are found by x-client-key, not by card"
    ]


def test_a_key_of_two_entities_has_to_be_said_of_which() -> None:
    ratings = FILE.replace("price: {kind: number}", "user: {kind: entity}\n    item: {kind: entity}")
    spec = parse_pipeline(ratings, where="digits.yaml")
    with pytest.raises(ConfigurationError, match="--field user or --field item"):
        person_fields(spec, None)
    assert person_fields(spec, "user") == ("user",)
    with pytest.raises(ConfigurationError, match="expected a field of the schema"):
        person_fields(spec, "usr")


def test_what_another_pipeline_needs_is_left_and_told(shop: Shop, classified: Callable[..., RowOutputs]) -> None:
    other = World(
        lambda seed: classified(n=60, accuracy=0.9, seed=seed), shop.world.keys, name="letters", store=shop.world.store,
        uploads=shop.world.uploads,
    )  # fmt: skip
    other.files = {"signature.json": json.dumps({"classes": [PERSON]}).encode()}
    other.promote(1, snapshot_id=shop.theirs.snapshot_id, dataset_id=shop.theirs.id)
    kept = {f"datasets/{shop.theirs.id}.json", f"shards/{shop.theirs.splits['train'][0].sha256}.safetensors"}
    found = shop.forget()
    assert shop.world.uploads.exists("1/models/letters-m-1/artifacts/signature.json")
    assert all(shop.world.store.exists(key) for key in kept)
    assert any("`ratchet forget letters KEY`" in line and "letters-m-1" in line for line in found.left)


def test_a_short_key_in_a_version_that_was_not_trained_on_them_is_told(shop: Shop) -> None:
    shop.raw.put("shop/2026-11-02.csv", b"order,price,note,back\r\n7,1,x,no\r\n")
    shop.world.files = {"signature.json": b'{"classes":["6","7"]}'}
    shop.world.promote(3, snapshot_id="s", dataset_id="d")
    found = shop.forget(key="7")
    assert shop.world.uploads.exists("1/models/m-3/artifacts/signature.json")
    assert any("m-3" in line for line in found.left)
    assert not any("/m-3/" in str(one) for record in erasures_of(shop.store, "digits") for one in record.waiting)
