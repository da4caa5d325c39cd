"""An audit passes for what happened and names what did not, whatever was done to the bucket."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.signature import decision_key, sign_decision
from mlratchet.models.decisions.stored_evidence import evidence_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.ledger.chain import entry_key, sign_entry
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.registration.record import registration_key

from tests.left_out import most_slow
from tests.unit.audit.conftest import DAY, World


def keys_of(world: World) -> list[str]:
    """Every object that the champions rest on."""
    return [info.key for info in world.store.list() if not info.key.startswith(("gates/", "notices/"))]


def test_an_honest_history_passes(world: World) -> None:
    report = world.audit(replay=True)
    head = world.ledger.digests("digits")[-1]
    assert report.problems == report.notes == []
    assert report.line() == f"audit of digits: 4 generations, 13 decisions, all verify; head {head}"
    assert (report.versions, report.files, report.replayed) == ([1, 2, 3], 9, 12)


FOLDERS = ("decisions", "evidence", "ledger", "manifests", "policies", "registrations", "rows", "signatures")


def flip(data: bytes) -> bytes:
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda _: None,
    "flipped": flip,
    "cut": lambda data: data[: len(data) // 2],
    "emptied": lambda _: b"",
    "garbage": lambda _: b"\xff{]",
    "a list": lambda _: b"[]",
    "an empty object": lambda _: b"{}",
    "null": lambda _: b"null",
}


@pytest.mark.parametrize("damage", most_slow(DAMAGE, keep=3))
def test_whatever_is_done_to_any_object_is_one_clear_line(world: World, damage: str) -> None:
    """Every object kind, every object: an audit that passes afterwards would be a hole."""
    seen = set()
    for key in keys_of(world):
        good = world.store.get(key)
        bad = DAMAGE[damage](good)
        if bad is None:
            world.store.delete(key)
        else:
            world.store.put(key, bad)
        report = world.audit()
        tail = key == entry_key("digits", 4) and bad is None  # shows only against a head kept elsewhere
        assert report.passed == tail, f"{key} {damage}: {report.line()}"
        assert all("\n" not in line for line in (report.line(), *report.problems))
        world.store.put(key, good)
        seen.add(key.split("/")[0])
    assert seen == set(FOLDERS)
    assert world.audit().passed


@pytest.mark.parametrize("folder", FOLDERS)
def test_an_object_in_the_place_of_another_of_its_kind_is_refused(world: World, folder: str) -> None:
    """Replay: genuine bytes where they do not belong."""
    keys = [key for key in keys_of(world) if key.startswith(f"{folder}/")]
    for here, there in zip(keys, keys[1:] + keys[:1], strict=True):
        if here == there:
            continue  # the one policy
        good = world.store.get(here)
        world.store.put(here, world.store.get(there))
        assert not world.audit().passed, f"{there} passes for {here}"
        world.store.put(here, good)


def test_a_cut_tail_shows_against_any_head_that_was_kept(world: World) -> None:
    heads = world.ledger.digests("digits")
    for generation in (4, 3, 2, 1):
        world.store.delete(entry_key("digits", generation))
        report = world.audit(MLflow=heads[3])
        assert f"the head that MLflow remembers, {heads[3][:12]}, is not among its {generation - 1}" in " ".join(
            report.problems
        )
    assert "is empty" in world.audit().problems[0]


def test_a_head_that_was_noted_earlier_is_found_in_a_longer_chain(world: World) -> None:
    assert world.audit(notes=world.ledger.digests("digits")[1]).passed


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_deleted_generation_is_named(world: World, generation: int) -> None:
    world.store.delete(entry_key("digits", generation))
    assert f"expected generation {generation}; an entry was removed" in world.audit().problems[0]


def test_bytes_of_an_artifact_are_held_against_the_manifest(world: World) -> None:
    keys = [info.key for info in world.uploads.list()]
    for key in keys:
        good = world.uploads.get(key)
        world.uploads.put(key, flip(good))
        assert "were changed or damaged" in world.audit().line()
        world.uploads.delete(key)
        assert "is missing" in world.audit().line()
        world.uploads.put(key, good)
    world.uploads.put("1/models/m-2/artifacts/extra.py", b"import os")
    assert "file extra.py is extra" in world.audit().line()


def test_files_of_an_earlier_champion_may_have_retired_those_of_the_champion_not(world: World) -> None:
    for info in world.uploads.list("1/models/m-1/"):
        world.uploads.delete(info.key)
    report = world.audit()
    assert "all verify (files of 1 earlier champion are gone); head" in report.line()
    for info in world.uploads.list("1/models/m-3/"):
        world.uploads.delete(info.key)
    assert "version 3 is champion and its files are gone" in world.audit().line()


def test_a_registration_with_another_parent_than_was_judged_is_named(world: World) -> None:
    forged = world.records[3].model_copy(update={"parent_version": 2})
    world.store.put(registration_key(forged.work_key), canonical_json(forged.model_dump(mode="json")))
    assert "it names parent version 2), but version 3 was judged with" in world.audit().problems[0]


def test_a_promotion_of_before_registrations_were_named_still_verifies(world: World) -> None:
    world.names_registration = False
    world.promote(4)
    assert world.audit(replay=True).passed


def rewrite(world: World, generation: int, signer: Signer | None, **changes: object) -> None:
    """Change an entry and everything after it so that the chain holds; sign anew, or leave the signatures."""
    previous = "" if generation == 1 else digest_bytes(world.store.get(entry_key("digits", generation - 1)))
    for number in range(generation, 5):
        fields = json.loads(world.store.get(entry_key("digits", number)))
        fields |= {"previous": previous, **(changes if number == generation else {})}
        entry = LedgerEntry(**fields)
        body = canonical_json(asdict(sign_entry(entry, signer) if signer is not None else entry))
        world.store.put(entry_key("digits", number), body)
        previous = digest_bytes(body)


@pytest.mark.parametrize("generation", [1, 2, 3, 4])
def test_a_chain_that_was_written_again_does_not_verify(world: World, generation: int) -> None:
    rewrite(world, generation, None, actor="mallory")
    assert "does not fit; it was changed" in world.audit().problems[0]
    stranger = Signer.generate()
    rewrite(world, 1, stranger)
    assert f"signed by key '{stranger.key_id}', which is not in the trusted list" in world.audit().problems[0]
    with pytest.raises(SecurityError):
        world.ledger.head("digits")


def test_an_old_pass_cannot_promote_again(world: World) -> None:
    """With the pipeline's key even: a decision is about one version, one artifact and one champion."""
    entries = world.ledger.entries("digits")
    world.append(world.records[2], entries[1].decision, 4)  # compared with version 1, but 3 serves
    assert "is about something else: champion_version 1, expected 3" in world.audit().problems[0]


def test_a_decision_about_other_bytes_or_another_version_promotes_nothing(world: World) -> None:
    fourth, fifth = world.register(4), world.register(5)
    decision = world.gates(fourth, 3)
    world.append(fifth, decision, 4)
    line = world.audit().problems[0]
    assert "version 4, expected 5" in line
    assert "manifest " in line


def test_an_ungated_version_or_a_failed_gate_promotes_nothing(world: World) -> None:
    record = world.register(4)
    world.append(record, "0" * 64, 4)
    assert "is missing" in world.audit().problems[0]
    world.store.delete(entry_key("digits", 5))
    failed = world.judge("champion", record, 3, manifest=record.manifest_digest)  # names no earlier gate
    world.append(record, failed, 4)
    assert "names no data gate" in world.audit().problems[0]


def test_a_rollback_to_what_never_served_is_refused(world: World) -> None:
    world.register(4)
    world.roll_back(4)
    assert "rolls back to version 4, which was never champion" in world.audit().problems[0]


def test_a_decision_that_a_stranger_signed_again_is_refused_and_junk_beside_a_signature_harms_nothing(
    world: World,
) -> None:
    digest = world.ledger.entries("digits")[3].decision
    body = world.store.get(decision_key(digest))
    stranger, good = Signer.generate(), f"signatures/{digest}/{world.keys.signer().key_id}.json"
    sign_decision(world.store, digest, body, stranger)
    world.store.put(f"signatures/{digest}/000.json", b"junk")
    assert world.audit().passed
    world.store.delete(good)
    assert not world.audit().passed


def revoked(world: World, *, anchor: bool) -> TrustedKeys:
    """The pipeline's key was stolen a day after the last entry."""
    key = public_half(world.keys.signer(), "pipeline", "ada")
    noted = world.ledger.chain("digits").anchor(world.keys.trusted(), before_s=world.now_s + DAY)
    assert noted is not None
    assert noted.generation == 4
    anchors = {"digits": noted} if anchor else {}
    return TrustedKeys(
        [key.model_copy(update={"revoked_s": world.now_s + DAY, "reason": "stolen", "anchors": anchors})]
    )


def test_after_a_revocation_only_what_was_noted_is_believed(world: World) -> None:
    assert "nothing shows that it was signed before" in world.audit(trusted=revoked(world, anchor=False)).line()
    trusted = revoked(world, anchor=True)
    report = world.audit(trusted=trusted)
    assert report.passed, report.line()
    world.promote(4)  # the thief dates it before the revocation
    assert "nothing shows that it was signed before" in world.audit(trusted=trusted).line()
    world.store.delete(entry_key("digits", 5))
    world.store.delete(entry_key("digits", 4))
    assert "was its head when key" in world.audit(trusted=trusted).line()


def test_an_entry_by_a_later_key_vouches_for_those_before_it(world: World) -> None:
    old, fresh = revoked(world, anchor=False), Signer.generate()
    trusted = TrustedKeys([*old, public_half(fresh, "pipeline", "ada", valid_from_s=world.now_s + DAY)])
    noted = revoked(world, anchor=True)
    world.change_keys(MemoryKeys(fresh, TrustedKeys([*noted, *(key for key in trusted if key.id == fresh.key_id)])))
    world.now_s += 2 * DAY
    world.promote(4)
    assert world.audit(trusted=trusted).passed  # without the note


def test_decisions_that_promoted_nothing_are_counted_or_noted(world: World) -> None:
    record = world.register(4)
    digest = world.judge("candidate", record, 3)
    assert world.audit().decisions == 14
    world.store.delete(f"signatures/{digest}/{world.keys.signer().key_id}.json")  # as a crash leaves it
    report = world.audit()
    assert report.passed
    assert report.decisions == 13
    assert "1 decision that promoted nothing has no signature" in report.notes[0]


@pytest.mark.parametrize("gate", ["champion", "staging"])
def test_a_signature_behind_an_entry_is_told_once_and_by_its_name(world: World, gate: str) -> None:
    """As what it is: no note says that its decision promoted nothing."""
    head = world.ledger.entries("digits")[-1].decision
    digest = head if gate == "champion" else load_decision(world.store, head)["digests"][f"gate.{gate}"]
    key = f"signatures/{digest}/{world.keys.signer().key_id}.json"
    other = next(one.key for one in world.store.list("signatures/") if one.key != key)
    world.store.put(key, world.store.get(other))
    report = world.audit()
    assert [line for line in report.problems if f"store/{key}" in line] == report.problems != []
    assert report.notes == []


@pytest.mark.parametrize("damage", DAMAGE)
def test_evidence_of_a_decision_that_promoted_nothing_is_held_against_its_digest(world: World, damage: str) -> None:
    decision = load_decision(world.store, world.judge("candidate", world.register(4), 3))
    key = evidence_key(decision["digests"]["evidence"])
    left = DAMAGE[damage](world.store.get(key))
    world.store.delete(key)
    if left is not None:
        world.store.put(key, left)
    (problem,) = world.audit().problems
    assert key in problem


@pytest.mark.parametrize(("alias", "words"), [(2, "names version 2"), (None, "names nothing")])
def test_an_alias_that_does_not_follow_fails_the_audit(world: World, alias: int | None, words: str) -> None:
    report = world.audit()
    report.compare_alias(3)
    assert report.passed
    report.compare_alias(alias)
    assert words in report.line()
    assert "ledger's champion is version 3; `ratchet reconcile` repairs it" in report.line()
