"""An audit names what somebody left beside the ledger, also where nobody believes it."""

from __future__ import annotations

import pytest
from mlratchet.models.data.first_columns import FirstColumns, columns_key, publish_first_columns
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.record_kinds import KINDS, kind_of
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.pipeline.store import deployment_key, publish_deployment
from mlratchet.models.promotion.holds import HoldBook, hold_key
from mlratchet.models.registration.record import registration_key

from tests.unit.audit.conftest import World
from tests.unit.trust.plants import PLANTS


@pytest.mark.parametrize("kind", sorted(set(PLANTS) - {"deployment", "order", "wear"}))
def test_a_plant_is_named_and_fails_nothing(world: World, kind: str) -> None:
    for key, document in PLANTS[kind].records.items():
        world.store.put(key, signed_record({**document, "x": 1}, key, world.keys.signer(), at_s=1.0) + b" ")
    report = world.audit()
    assert report.problems == []
    for key in PLANTS[kind].records:
        assert any(key in note and "it was changed" in note for note in report.notes), report.notes


H = "a" * 64
OF_EVERY_KIND = (
    f"work/{H}/claim-000001.json", f"work/{H}/e000001/result.json", f"work/{H}/uploads/x.json",
    f"work/{H}/e000001/checkpoints/000000001/marker.json", "versions/digits/00000001.json", "datasets/d.json",
    "snapshots/s.json", "listings/a/b.json", "readings/d.json", "rejects/digits.json", "kept/d.json",
    "registrations/w.json", f"gates/{H}/g.json", "deployments/digits/00000001.json", "orders/digits/o.json",
    "waits/digits/r.json", "studies/s/journal/000000000.json", "canary/digits/00000001.json",
    "holdout/digits/00000001.json", "nodes/w-1/invitation.json", "runs/r.json", f"findings/digits/{H}.json",
    "windows/digits/00000001.json", "holds/digits/00000001.json", f"answers/digits/{H}.json", "retrains/f.json",
    "adoptions/digits/00000001.json", "log/digits/chain/s/00000001.json", "log/digits/rewrites/00000001.json",
    f"scores/{H}/manifest.json", "erasures/digits/00000001.json", "label-requests/digits/x.json",
)  # fmt: skip


def test_there_is_a_name_of_every_kind_of_record() -> None:
    assert {kind_of(key) for key in OF_EVERY_KIND} == set(KINDS)


@pytest.mark.parametrize("key", OF_EVERY_KIND)
def test_a_record_of_any_kind_that_nobody_of_ours_signed_is_named(world: World, key: str) -> None:
    for planted in (b"{}", b"\0", b'{"signed":1}', signed_record({"a": 1}, key, Signer.generate(), at_s=1.0)):
        world.store.put(key, planted)
        report = world.audit()
        assert any(f"store/{key}" in line for line in (*report.problems, *report.notes)), (planted, report)


def test_an_answer_or_a_signature_that_nobody_of_ours_gave_is_named(world: World) -> None:
    decision = next(world.store.list("decisions/")).key.removeprefix("decisions/").removesuffix(".json")
    planted = (
        f"approvals/digits/{H}/{'b' * 16}/0001.json", f"approvals/digits/{H}/x.json", f"signatures/{H}/{'b' * 16}.json",
        f"signatures/{decision}/{'b' * 16}.json", f"signatures/{decision}/x/y.json",
    )  # fmt: skip
    for key in planted:
        world.store.put(key, b'{"statement": {}, "signature": {}}')
    report = world.audit()
    assert report.problems == []
    for key in planted:
        assert any(f"store/{key}" in note for note in report.notes), key


def test_unsigned_records_are_counted_and_say_what_to_type(world: World) -> None:
    world.store.put("datasets/d.json", b"{}")
    world.store.put("work/w/claim-000001.json", b"{}")
    (note,) = world.audit().notes
    assert note.startswith("2 records are not signed")
    assert "`ratchet adopt digits`: store/work/w/claim-000001.json, store/datasets/d.json" in note


def test_what_was_set_aside_is_listed(world: World) -> None:
    world.store.put("datasets/d.json", b"planted")
    RecordStore(world.store, world.keys).create("datasets/d.json", canonical_json({"id": "d"}))
    (note,) = world.audit().notes
    assert note.endswith("datasets/d.json: was set aside")


def test_a_changed_record_about_a_champion_is_a_problem(world: World) -> None:
    key = registration_key(world.records[1].work_key)
    world.store.put(key, world.store.get(key).replace(b'"at_s":', b'"at_s":1'))
    assert any(key in line for line in world.audit().problems)


def test_a_chain_of_deployments_that_is_not_whole_is_a_problem(world: World) -> None:
    records = RecordStore(world.store, world.keys)
    for revision in ("a", "b", "c"):
        publish_deployment(records, "digits", revision, actor="a", at_s=1.0)
    assert world.audit().passed
    world.store.delete(deployment_key("digits", 2))
    assert any("expected entry 2" in line for line in world.audit().problems)


def test_a_use_of_test_rows_that_was_removed_is_a_problem(world: World) -> None:
    records = RecordStore(world.store, world.keys)
    for number in (1, 2, 3):
        records.create(f"holdout/digits/{number:08d}.json", canonical_json({"number": number}))
    assert world.audit().passed
    world.store.delete("holdout/digits/00000002.json")
    assert world.audit().problems == ["store/holdout/digits/: entry 00000002 is gone"]


def test_a_record_by_a_key_that_nobody_knows_is_named(world: World) -> None:
    world.store.put("datasets/d.json", signed_record({"id": "d"}, "datasets/d.json", Signer.generate(), at_s=1.0))
    (note,) = world.audit().notes
    assert "datasets/d.json: signed by key" in note


def test_very_many_plants_are_told_in_few_lines(world: World) -> None:
    for number in range(40):
        world.store.put(f"datasets/{number}.json", b'{"signed":1}')
    notes = world.audit().notes
    assert len(notes) == 11
    assert notes[-1] == "30 more records that are not ours"


def test_a_chain_of_holds_that_is_not_whole_is_a_problem(world: World) -> None:
    book = HoldBook(RecordStore(world.store, world.keys))
    for finding in ("a", "b", "c"):
        book.place("digits", finding=finding * 64, kind="data", words="w", actor="a", at_s=1.0)
    assert world.audit().passed
    world.store.delete(hold_key("digits", 2))
    assert any("does not follow entry 1" in line for line in world.audit().problems)


def test_columns_of_a_first_delivery_that_were_changed_or_planted_are_a_problem(world: World) -> None:
    """They say who a row without an id is: runs end where they do not verify, so an audit is not silent."""
    for number, columns in enumerate((("a", "b"), ("c",)), 1):
        first = FirstColumns(pipeline="digits", columns=columns, snapshot_id="s", at_s=1.0)
        publish_first_columns(world.store, first, world.keys.signer(), world.keys.trusted(), number=number)
    assert world.audit().passed
    first, second = columns_key("digits"), columns_key("digits", 2)
    for key, planted in (
        (first, world.store.get(first).replace(b'\\"a\\"', b'\\"x\\"')), (second, world.store.get(first)),
        (first, b"{}"),
        (columns_key("digits", 3), b"{}"), ("columns/digits/x.json", b"{}"), ("columns/digits/02.json", b"{}"),
    ):  # fmt: skip
        there = world.store.get(key) if world.store.exists(key) else None
        assert planted != there
        world.store.put(key, planted)
        (problem,) = world.audit().problems
        assert f"store/{key}: " in problem
        world.store.delete(key)
        if there is not None:
            world.store.put(key, there)
    world.store.put("columns/digits-2.json", b"{}")  # of another pipeline
    assert world.audit().passed


def test_what_is_a_problem_is_no_note_as_well(world: World) -> None:
    records = RecordStore(world.store, world.keys)
    publish_deployment(records, "digits", "a", actor="a", at_s=1.0)
    world.store.put(deployment_key("digits", 1), world.store.get(deployment_key("digits", 1)).replace(b'"a"', b'"b"'))
    report = world.audit()
    assert len(report.problems) == 1
    assert report.notes == []
