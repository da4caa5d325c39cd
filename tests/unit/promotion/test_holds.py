"""A chain of holds: what stands, who ends it, and what somebody did to it."""

from __future__ import annotations

from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import RecordStore, signed_record
from mlratchet.models.identity.signing import Signer
from mlratchet.models.promotion.holds import Hold, HoldBook, HoldEntry, broken_holds, held_names, hold_key

A, B = "a" * 64, "b" * 64


class Marked:
    """A bucket in which others write, and what this machine remembers."""

    def __init__(self, home: Any) -> None:
        self.raw, self.keys = MemoryStore("store"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys)
        self.marks = HeadFiles(home, "here")

    @property
    def book(self) -> HoldBook:
        return HoldBook(self.store, self.marks)

    def place(self, finding: str, kind: str = "data") -> HoldEntry:
        return self.book.place("digits", finding=finding, kind=kind, words="half is empty", actor="monitor", at_s=1.0)

    def lift(self, finding: str) -> HoldEntry | None:
        return self.book.lift("digits", finding=finding, reason="looked at it", actor="ada", at_s=2.0)

    def held(self) -> list[str]:
        return [hold.entry.finding for hold in self.book.standing("digits")]


@pytest.fixture
def bucket(tmp_path: Any) -> Marked:
    return Marked(tmp_path)


def test_what_is_placed_stands_until_it_is_lifted(bucket: Marked) -> None:
    bucket.book.refuse_held("digits")
    bucket.place(A)
    bucket.place(B, "service")
    assert bucket.held() == [A, B]
    with pytest.raises(GateRefusedError, match=r"digits is held since .* aaaaaaaaaaaa .*later delivery.*; held since"):
        bucket.book.refuse_held("digits")
    assert bucket.lift(A) is not None
    assert bucket.lift(A) is None
    assert bucket.held() == [B]
    assert [entry.number for entry in bucket.book.entries("digits")] == [1, 2, 3]
    assert held_names(bucket.store) == {"digits"}
    assert broken_holds(bucket.store, "digits") == []


def test_one_finding_holds_once_and_what_a_person_resolved_does_not_come_back(bucket: Marked) -> None:
    assert bucket.place(A) == bucket.place(A)
    bucket.lift(A)
    bucket.place(A)
    assert bucket.held() == []


def test_a_delivery_ends_what_is_about_data_and_came_before_it(bucket: Marked) -> None:
    bucket.place(A)
    bucket.place(B, "service")
    data, service = bucket.book.standing("digits")
    assert [data.is_answered_by(at) for at in (data.written_s, None, data.written_s + 1)] == [False, False, True]
    assert not service.is_answered_by(service.written_s + 1)


def test_two_who_write_at_once_both_have_their_entry(bucket: Marked, monkeypatch: pytest.MonkeyPatch) -> None:
    create, first = bucket.store.create, [True]

    def beaten(key: str, data: bytes) -> None:
        if first and first.pop():
            bucket.place(B)
        create(key, data)

    monkeypatch.setattr(bucket.store, "create", beaten)
    bucket.place(A)
    assert bucket.held() == [B, A]


def test_a_tail_that_was_cut_is_no_lift(bucket: Marked) -> None:
    bucket.place(A)
    bucket.place(B)
    bucket.raw.delete(hold_key("digits", 2))
    with pytest.raises(SecurityError, match="entry 2 was the newest here and is gone"):
        bucket.held()
    with pytest.raises(SecurityError):
        bucket.place(A)
    bucket.book.lift_all("digits", reason="went through everything", actor="ada", at_s=3.0)
    assert bucket.held() == []


def test_what_somebody_wrote_over_the_newest_entry_is_no_lift(bucket: Marked) -> None:
    bucket.place(A)
    bucket.raw.put(hold_key("digits", 1), b"{}")
    with pytest.raises(SecurityError, match="is gone or another"):
        bucket.held()


def test_a_gap_stops_everybody_also_without_a_memory(bucket: Marked) -> None:
    for finding in (A, B):
        bucket.place(finding)
    bucket.raw.delete(hold_key("digits", 1))
    with pytest.raises(SecurityError, match="does not follow entry 0"):
        HoldBook(bucket.store).standing("digits")
    assert len(broken_holds(bucket.store, "digits")) == 1


def test_what_a_stranger_planted_neither_holds_nor_lifts_and_is_written_over(bucket: Marked) -> None:
    first = bucket.place(A)
    lift = HoldEntry(
        name="digits", number=2, action="lift", finding=A, words="w", actor="a", at_s=1.0, previous=first.digest()
    )
    key = hold_key("digits", 2)
    bucket.raw.put(key, canonical_json(lift.model_dump(mode="json")))
    bucket.raw.put(hold_key("digits", 9), b"junk")
    assert bucket.held() == [A]
    bucket.place(B)
    assert bucket.held() == [A, B]
    assert [info.key.split("/", 2)[2] for info in bucket.raw.list("aside/")] == [key]


def test_what_a_revoked_key_signed_goes_on_holding_and_lifts_nothing(bucket: Marked) -> None:
    bucket.place(A)
    bucket.place(B)
    bucket.lift(B)
    key = next(iter(bucket.keys.list)).model_copy(update={"revoked_s": 1000.0, "reason": "stolen"})
    fresh = Signer.generate()
    bucket.keys.list = bucket.keys.list.replacing(key).replacing(public_half(fresh, "pipeline", "ops"))
    bucket.keys._signer = fresh
    assert bucket.held() == [A, B]
    assert bucket.lift(B) is not None
    assert bucket.held() == [A]


def test_a_record_that_is_signed_and_no_hold_is_a_security_error(bucket: Marked) -> None:
    key = hold_key("digits", 1)
    bucket.raw.put(key, signed_record({"name": "digits", "finding": A}, key, bucket.keys.signer(), at_s=1.0))
    with pytest.raises(SecurityError, match="is not a hold"):
        bucket.held()


def test_words_say_what_ends_it(bucket: Marked) -> None:
    words = Hold(entry=bucket.place(A, "service"), written_s=1.0).in_words()
    assert "delivery" not in words
    assert words.endswith("`ratchet resolve aaaaaaaaaaaa --reason ...`")
