"""An audit since the last clean one: what it does not look at again it says, and what is newer it sees as ever."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.settings import AuditSettings
from mlratchet.models.audit.audit import Audit
from mlratchet.models.audit.generation import Depth
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.decisions.signature import decision_key
from mlratchet.models.gates.holdout import record_use
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.ledger.remembered import RememberedHead, sign_head, write_head
from mlratchet.tasks.actions import audit as task

from tests.unit.audit.conftest import World


class Auditing:
    """`ratchet audit` of an installation with a key, on the world's bucket."""

    def __init__(self, world: World, home: Path) -> None:
        self.world = world
        self.settings = AuditSettings(
            home=home, s3_endpoint_url="http://here", store_bucket="store", trusted_keys=home / "keys.json"
        )
        self.fetched: list[str] = []

    def __call__(self, *, since: bool = False, files: bool = True, name: str = "digits") -> AuditReport:
        assert self.settings.trusted_keys is not None
        self.settings.trusted_keys.write_text(self.world.keys.trusted().to_json())
        self.fetched.clear()
        return task.audit(self.settings, name, expect_head=None, depth=Depth(files=files), since=since)

    @property
    def file(self) -> Path:
        return self.settings.home / "heads" / "digits.audit"


@pytest.fixture
def audit(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Auditing:
    made = Auditing(world, tmp_path)
    get = world.store.get

    def counting(key: str, *, sha256: str | None = None) -> bytes:
        made.fetched.append(key)
        return get(key, sha256=sha256)

    monkeypatch.setattr(world.store, "get", counting)
    monkeypatch.setattr(task, "Buckets", lambda _settings: world.bucket)
    monkeypatch.setattr(task, "load_settings", lambda _home: None)
    monkeypatch.setattr(task, "InstalledKeys", lambda _settings: world.keys)
    return made


def test_since_a_clean_audit_only_the_newest_and_what_is_newer_is_looked_at(audit: Auditing) -> None:
    whole = audit()
    assert (whole.passed, whole.since, whole.decisions) == (True, 0, 13)
    every = len(audit.fetched)
    again = audit(since=True)
    assert (again.passed, again.since, again.generations) == (True, 4, 4)
    assert again.line().startswith("audit of digits since generation 4: 4 generations, ")
    (note,) = (line for line in again.notes if "not looked at again" in line)
    assert note.startswith("what is behind generations 1 to 4 was verified by the audit of ")
    assert len(audit.fetched) < every
    audit.world.promote(4)
    newer = audit(since=True)
    assert (newer.passed, newer.since, newer.generations, newer.champion) == (True, 4, 5, 4)
    assert audit(since=True).since == 5  # what was clean since then is remembered, too


def test_the_same_verdict_with_and_without(audit: Auditing) -> None:
    audit()
    audit.world.promote(4)
    audit.world.roll_back(3)
    whole, part = audit(), audit(since=True)
    for name in ("champion", "generations", "versions", "head", "problems", "passed"):
        assert getattr(whole, name) == getattr(part, name)


def behind(world: World, generation: int) -> str:
    return decision_key(world.ledger.entries("digits")[generation - 1].decision)


NEWER: dict[str, Callable[[World], Any]] = {
    "decision of a newer entry": lambda w: w.store.delete(behind(w, 5)),
    "bytes of the champion": lambda w: w.uploads.put("1/models/m-4/artifacts/data/model.pt2", b"other"),
    "a newer entry edited": lambda w: w.store.put(entry_key("digits", 5), b"{}"),
    "an old entry edited": lambda w: w.store.put(
        entry_key("digits", 2), w.store.get(entry_key("digits", 2)).replace(b'"ada"', b'"eve"')
    ),
    "an old entry removed": lambda w: w.store.delete(entry_key("digits", 2)),
    "the tail cut behind the head": lambda w: w.remove(5, 4),
    "an old pass promoted again": lambda w: w.append(w.records[2], w.ledger.entries("digits")[1].decision, 5),
    "a foreign decision": lambda w: w.store.put(decision_key("0" * 64), b"{}"),
}


@pytest.mark.parametrize("what", NEWER)
def test_what_was_done_since_then_and_every_change_of_the_ledger_is_a_problem(audit: Auditing, what: str) -> None:
    assert audit().passed
    audit.world.promote(4)
    NEWER[what](audit.world)
    report = audit(since=True)
    assert not report.passed, report.line()
    assert report.since == (0 if "old entry" in what or "tail" in what else 4)  # a ledger that does not hold it
    assert audit(since=True).since in (0, 4)  # a dirty audit is not remembered


def test_damage_behind_the_head_is_what_only_a_whole_audit_finds(audit: Auditing) -> None:
    assert audit().passed
    audit.world.store.delete(behind(audit.world, 1))
    report = audit(since=True)
    assert report.passed
    assert any("not looked at again" in line for line in report.notes)
    assert "is missing" in audit().line()


def edited(audit: Auditing) -> None:
    audit.file.write_bytes(re.sub(rb'"generation":\d+', b'"generation":3', audit.file.read_bytes()))


def another_pipeline(audit: Auditing) -> None:
    (audit.file.parent / "other.audit").write_bytes(audit.file.read_bytes())


def only_read(audit: Auditing) -> None:
    """Genuine: every command signs such a head, and it says nothing about what is behind the entries."""
    head = RememberedHead(**json.loads(audit.file.read_bytes()))
    signed = sign_head(head.model_copy(update={"verified": "chain"}), audit.world.keys.signer())
    audit.file.write_bytes(write_head(signed))


UNBELIEVED: dict[str, Callable[[Auditing], Any]] = {
    "none": lambda audit: audit.file.unlink(),
    "edited": edited,
    "garbage": lambda audit: audit.file.write_bytes(b"\xff{]"),
    "of a chain that was only read": only_read,
    "with another list of keys": lambda audit: audit.world.change_trust(
        [*audit.world.keys.trusted(), public_half(Signer.generate(), "pipeline", "eve")]
    ),
    "of another server": lambda audit: setattr(
        audit, "settings", audit.settings.model_copy(update={"s3_endpoint_url": "http://elsewhere"})
    ),
}


@pytest.mark.parametrize("how", UNBELIEVED)
def test_without_a_head_that_is_believed_everything_is_looked_at_and_it_says_so(audit: Auditing, how: str) -> None:
    assert audit().passed
    audit.world.store.delete(behind(audit.world, 1))
    UNBELIEVED[how](audit)
    report = audit(since=True)
    assert report.since == 0
    assert not report.passed
    assert "no clean audit of digits by these keys is remembered here: everything was looked at" in report.notes


def test_a_head_of_another_pipeline_is_not_believed(audit: Auditing) -> None:
    assert audit().passed
    another_pipeline(audit)
    report = audit(since=True, name="other")
    assert (report.passed, report.since) == (False, 0)


def test_an_audit_that_left_files_out_or_found_something_is_not_remembered(audit: Auditing) -> None:
    assert audit(files=False).passed
    assert not audit.file.exists()
    good = audit.world.store.get(behind(audit.world, 1))
    audit.world.store.delete(behind(audit.world, 1))
    assert not audit().passed
    assert not audit.file.exists()
    audit.world.store.put(behind(audit.world, 1), good)
    assert audit().passed
    assert audit.file.exists()


def test_who_has_no_key_audits_and_remembers_nothing(audit: Auditing, monkeypatch: pytest.MonkeyPatch) -> None:
    believed = TrustedKeys(audit.world.keys.trusted())
    monkeypatch.setattr(task, "InstalledKeys", lambda _settings: MemoryKeys(Signer.generate(), believed))
    assert audit().passed
    assert audit(since=True).since == 0  # signed by a key that nobody trusts: worth nothing


def test_an_audit_needs_no_more_of_the_store_than_reading(world: World) -> None:
    made = Audit(world.store, world.bucket, world.keys.trusted(), "digits")
    before = {info.key: info.etag for info in world.store.list()}
    assert made.run().passed
    assert {info.key: info.etag for info in world.store.list()} == before


def test_an_end_that_was_cut_after_a_clean_audit_is_told_by_the_next_one_with_or_without_since(
    audit: Auditing, world: World
) -> None:
    store = RecordStore(world.store, world.keys)
    record_use(store, "digits", "a" * 64, ["1"])
    record_use(store, "digits", "b" * 64, ["1"])
    assert audit().passed
    last = "holdout/digits/00000002.json"
    world.store.delete(last)
    for since in (False, True):
        report = audit(since=since)
        assert any(f"{last}: is gone since the last clean audit" in line for line in report.problems)
    assert any(f"{last}: is gone" in line for line in audit().problems), "it is not forgotten"
