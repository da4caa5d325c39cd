"""A remembered head spares reading, and nothing is believed by it that is not believed without it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.infra.ledger.objects import ObjectLedger
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.ledger.chain import entry_key
from mlratchet.models.ledger.remembered import RememberedHead, sign_head, write_head

from tests.unit.ledger.test_objects import promote

HERE = "http://here/store"


class Counting(MemoryStore):
    """Says what was fetched and what listings showed."""

    def __init__(self) -> None:
        super().__init__("store")
        self.fetched: list[str] = []

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.fetched.append(key)
        return super().get(key, sha256=sha256)


class Place:
    """A bucket with a ledger of `count` entries, and the home of an installation."""

    def __init__(self, home: Path, count: int = 5) -> None:
        self.store, self.keys = Counting(), MemoryKeys()
        self.heads = HeadFiles(home, HERE)
        for version in range(1, count + 1):
            promote(self.forgetful(), version, version - 1)

    @property
    def file(self) -> Path:
        return self.heads.path("digits", "chain")

    def remembering(self, heads: HeadFiles | None = None) -> ObjectLedger:
        """As a process of the installation that has just started sees it."""
        self.store.fetched.clear()
        return ObjectLedger(self.store, self.keys, heads or self.heads)

    def forgetful(self) -> ObjectLedger:
        """As a process elsewhere sees it."""
        return ObjectLedger(self.store, self.keys)

    def same(self) -> None:
        """With and without remembered head every question has the same answer."""
        ours, theirs = self.remembering(), self.forgetful()
        assert ours.entries("digits") == theirs.entries("digits")
        assert ours.digests("digits") == theirs.digests("digits")
        assert ours.head("digits") == theirs.head("digits")
        assert ours.chain("digits").links == theirs.chain("digits").links
        for when_s in (-1.0, 0.0, 1.5, 99.0):
            assert ours.at("digits", when_s) == theirs.at("digits", when_s)

    def rewrite(self, **changes: object) -> None:
        """Change fields of the file's first line, the signature as it was."""
        first, _, rest = self.file.read_bytes().partition(b"\n")
        self.file.write_bytes(canonical_json({**json.loads(first), **changes}) + b"\n" + rest)

    def edit(self, generation: int, old: bytes = b'"ada"', new: bytes = b'"eve"') -> None:
        """One field of an entry in the bucket."""
        key = entry_key("digits", generation)
        self.store.put(key, self.store.get(key).replace(old, new))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path)
    made.remembering().head("digits")
    return made


def test_the_tail_alone_is_read(place: Place) -> None:
    place.same()
    assert place.remembering().head("digits") is not None
    assert place.store.fetched == [entry_key("digits", 5)]
    promote(place.forgetful(), 6, 5)
    place.remembering().head("digits")
    assert place.store.fetched == [entry_key("digits", 5), entry_key("digits", 6)]
    place.remembering().head("digits")  # the sixth is remembered now
    assert place.store.fetched == [entry_key("digits", 6)]
    place.same()


def test_what_is_promoted_through_it_is_the_same_chain(place: Place) -> None:
    promote(place.remembering(), 6, 5)
    place.same()
    assert place.forgetful().entries("digits")[5].version == 6


def test_a_process_without_a_key_reads_what_is_remembered_and_writes_nothing(place: Place) -> None:
    promote(place.forgetful(), 6, 5)
    before = place.file.read_bytes()
    reader = HeadFiles(place.file.parent.parent, HERE, writes=False)
    assert len(place.remembering(reader).entries("digits")) == 6
    assert place.store.fetched == [entry_key("digits", 5), entry_key("digits", 6)]
    assert place.file.read_bytes() == before
    place.file.unlink()
    assert len(place.remembering(reader).entries("digits")) == 6
    assert not place.file.exists()


def test_without_a_usable_key_or_a_writable_home_everything_is_read_and_nothing_fails(tmp_path: Path) -> None:
    class Auditor(MemoryKeys):
        def signer(self) -> Signer:
            raise ConfigurationError("no key here")

    place = Place(tmp_path / "nowhere" / "home")
    assert len(place.remembering().entries("digits")) == 5
    assert not place.file.exists()
    place.keys = Auditor(trusted=place.keys.list)
    place.heads = HeadFiles(tmp_path, HERE)
    assert len(place.remembering().entries("digits")) == 5
    assert not place.file.exists()


def stranger(place: Place) -> None:
    head = json.loads(place.file.read_bytes().partition(b"\n")[0])
    forged = sign_head(RememberedHead(**head), Signer.generate())
    place.file.write_bytes(write_head(forged, place.forgetful().chain("digits").links))


def of_another_pipeline(place: Place) -> None:
    """Genuine, signed by the right key, about another ledger of the same bucket."""
    for version in (1, 2, 3):
        promote(place.forgetful(), version, version - 1, name="other")
    place.remembering().head("other")
    place.file.write_bytes(place.heads.path("other", "chain").read_bytes())


def of_another_bucket(place: Place) -> None:
    place.heads = HeadFiles(place.file.parent.parent, "http://elsewhere/store")


def older(place: Place) -> None:
    kept = place.file.read_bytes()
    for version in (6, 7):
        promote(place.forgetful(), version, version - 1)
    place.remembering().head("digits")
    place.file.write_bytes(kept)


def copy_edited(place: Place) -> None:
    place.file.write_bytes(place.file.read_bytes().replace(b'"actor":"ada"', b'"actor":"eve"', 1))


def of_an_audit(place: Place) -> None:
    """Signed by the right key for another use."""
    head = json.loads(place.file.read_bytes().partition(b"\n")[0]) | {"verified": "audit"}
    signed = sign_head(RememberedHead(**head), place.keys.signer())
    place.file.write_bytes(write_head(signed, place.forgetful().chain("digits").links))


def signed_for_something_else(place: Place) -> None:
    """The pipeline's key signs decisions, too: such a signature says nothing about a head."""
    head = RememberedHead(**json.loads(place.file.read_bytes().partition(b"\n")[0]))
    body = canonical_json(head.model_dump(mode="json", exclude={"signature"}))
    place.rewrite(signature=place.keys.signer().sign(body, purpose="decision").value)


FORGED: dict[str, Callable[[Place], None]] = {
    "garbage": lambda place: place.file.write_bytes(b"\xff{]"),
    "empty": lambda place: place.file.write_bytes(b""),
    "an empty object": lambda place: place.file.write_bytes(b"{}\n"),
    "cut": lambda place: place.file.write_bytes(place.file.read_bytes()[:-300]),
    "generation edited": lambda place: place.rewrite(generation=4),
    "digest edited": lambda place: place.rewrite(digest="0" * 64),
    "list edited": lambda place: place.rewrite(trusted="0" * 64),
    "unsigned": lambda place: place.rewrite(signature=""),
    "signed by a stranger": stranger,
    "of another pipeline": of_another_pipeline,
    "of another bucket": of_another_bucket,
    "older": older,
    "copy of an entry edited": copy_edited,
    "of an audit": of_an_audit,
    "signed for something else": signed_for_something_else,
}


@pytest.mark.parametrize("how", FORGED)
def test_a_head_that_is_not_genuine_costs_time_and_no_belief(place: Place, how: str) -> None:
    FORGED[how](place)
    place.same()
    place.remembering().head("digits")
    newest = place.forgetful().entries("digits")[-1].generation
    assert place.remembering().head("digits") is not None
    assert place.store.fetched == [entry_key("digits", newest)]  # what was read again is remembered again


@pytest.mark.parametrize("how", FORGED)
def test_a_head_that_is_not_genuine_hides_no_edit(place: Place, how: str) -> None:
    FORGED[how](place)
    place.edit(5)
    with pytest.raises(SecurityError, match="changed"):
        place.remembering().entries("digits")


def test_an_old_entry_that_is_edited_is_not_believed_and_is_found_by_who_reads_all(place: Place) -> None:
    before = place.forgetful().entries("digits")
    place.edit(2)
    assert place.remembering().entries("digits") == before
    with pytest.raises(SecurityError, match="does not follow"):
        place.forgetful().entries("digits")


@pytest.mark.parametrize("generation", [5, 6, 7])
def test_an_entry_from_the_head_on_that_is_edited_is_refused(place: Place, generation: int) -> None:
    for version in (6, 7):
        promote(place.forgetful(), version, version - 1)
    place.edit(generation)
    with pytest.raises(SecurityError, match=r"was changed|signature|does not"):
        place.remembering().entries("digits")


def test_an_entry_that_a_stranger_appends_is_refused(place: Place) -> None:
    promote(ObjectLedger(place.store, MemoryKeys(trusted=place.keys.list)), 6, 5)
    with pytest.raises(SecurityError, match="not in the trusted list"):
        place.remembering().head("digits")


@pytest.mark.parametrize("left", [4, 3, 0])
def test_a_cut_tail_is_noticed_without_mlflow(place: Place, left: int) -> None:
    for generation in range(left + 1, 6):
        place.store.delete(entry_key("digits", generation))
    with pytest.raises(SecurityError, match=r"is gone; this installation verified it as .* the ledger's tail was cut"):
        place.remembering().head("digits")
    place.file.unlink()  # as the message says, for a ledger that is meant to be another one
    assert len(place.remembering().entries("digits")) == left


def test_a_tail_that_is_written_anew_with_the_genuine_key_is_noticed(place: Place) -> None:
    place.store.delete(entry_key("digits", 5))
    promote(place.forgetful(), 9, 4)
    with pytest.raises(SecurityError, match="was changed; this installation verified it as"):
        place.remembering().head("digits")


def test_a_hole_after_the_head_is_refused(place: Place) -> None:
    for version in (6, 7):
        promote(place.forgetful(), version, version - 1)
    place.store.delete(entry_key("digits", 6))
    with pytest.raises(SecurityError, match="expected generation 6"):
        place.remembering().head("digits")


def test_a_revocation_counts_at_once_and_every_signature_is_verified_again(place: Place) -> None:
    key = public_half(place.keys.signer(), "pipeline", "ada")
    place.keys.list = TrustedKeys([key.model_copy(update={"revoked_s": 2.5, "reason": "stolen"})])
    with pytest.raises(SecurityError, match="revoked"):
        place.remembering().entries("digits")
    ledger = place.remembering()
    place.keys.list = TrustedKeys([key])
    assert len(ledger.entries("digits")) == 5
    place.keys.list = TrustedKeys([key.model_copy(update={"revoked_s": 2.5, "reason": "stolen"})])
    with pytest.raises(SecurityError, match="revoked"):
        ledger.entries("digits")


def test_a_head_of_before_another_key_joined_the_list_is_read_anew(place: Place) -> None:
    second = Signer.generate()
    place.keys.list = TrustedKeys([*place.keys.list, public_half(second, "pipeline", "eve")])
    place.same()
    assert len(place.remembering().entries("digits")) == 5
    assert place.store.fetched == [entry_key("digits", 5)]


def test_a_name_cannot_leave_the_folder(tmp_path: Path) -> None:
    heads = HeadFiles(tmp_path, HERE)
    for name in ("../../x", "/etc/x", "..", "a/b"):
        assert heads.path(name, "chain").parent == tmp_path / "heads"


def test_the_head_names_its_newest_entry(place: Place) -> None:
    head = json.loads(place.file.read_bytes().partition(b"\n")[0])
    assert (head["generation"], head["name"], head["where"]) == (5, "digits", HERE)
    assert head["digest"] == digest_bytes(place.store.get(entry_key("digits", 5)))
