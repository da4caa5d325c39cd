"""A record is believed under the name that it was signed for, by a key that may, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from mlratchet.infra.keys.files import MemoryKeys, public_half
from mlratchet.infra.storage.memory import MemoryStore
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.claim import claim_key, read_claims, take_claim
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.record_kinds import KINDS, kind_of
from mlratchet.models.identity.signed_records import (
    ASIDE,
    ASIDE_OF_LOG,
    ForeignRecord,
    RecordStore,
    UnsignedRecord,
    aside_of,
    bare,
    signed_record,
)
from mlratchet.models.identity.signing import Signer, TrustedKeys
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound

NAMES = {
    "claim": "work/w/claim-000001.json",
    "result": "work/w/e000001/result.json",
    "checkpoint": "work/w/e000001/checkpoints/000000040/marker.json",
    "version": "versions/digits/00000001.json",
    "upload": "work/w/uploads/u.json",
    "dataset": "datasets/d.json",
    "snapshot": "snapshots/s.json",
    "listing": "listings/source/fingerprint.json",
    "reading": "readings/d.json",
    "registration": "registrations/w.json",
    "gate-run": "gates/w/g.json",
    "deployment": "deployments/digits/00000001.json",
    "order": "orders/digits/o.json",
    "wait": "waits/digits/r.json",
    "report": "runs/r.json",
    "study": "studies/s/journal/000000000.json",
    "wear": "holdout/digits/00000001.json",
    "canary": "canary/digits/00000001.json",
    "invitation": "nodes/w-000001/invitation.json",
    "finding": f"findings/digits/{'a' * 64}.json",
    "window": "windows/digits/00000001.json",
    "hold": "holds/digits/00000001.json",
    "answer": f"answers/digits/{'a' * 64}.json",
    "retrain": f"retrains/{'a' * 64}.json",
    "adoption": "adoptions/digits/00000001.json",
    "log-file": "log/digits/chain/w1/00000001.json",
    "log-rewrite": "log/digits/rewrites/00000001.json",
    "label-request": "label-requests/digits/l.json",
    "score": f"scores/{'a' * 64}/part-000000-000000.json",
    "erasure": "erasures/digits/00000001.json",
}
OURS = sorted(set(NAMES) - {"adoption", "log-file"})  # of the pipeline's key
BODY = canonical_json({"said": "ä", "number": 0.1})


class Bucket:
    """A bucket, who has the key to it, and a stranger who may write."""

    def __init__(self) -> None:
        self.raw, self.keys = MemoryStore("b"), MemoryKeys()
        self.store = RecordStore(self.raw, self.keys, now=lambda: 1000.0)

    def reader(self) -> RecordStore:
        """Another process, without a key."""
        return RecordStore(self.raw, PublicKeys(self.keys.trusted()))

    def aside(self) -> list[str]:
        return [info.key for place in (ASIDE, ASIDE_OF_LOG) for info in self.raw.list(place)]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_every_kind_has_a_name_and_a_purpose_of_its_own() -> None:
    assert {kind.purpose for kind in KINDS} == set(NAMES)
    for purpose, key in NAMES.items():
        kind = kind_of(key)
        assert kind is not None
        assert kind.purpose == purpose
    for other in ("ledger/digits/00000001.json", "decisions/d.json", "approvals/a/b/c/0001.json", "rows/r.safetensors"):
        assert kind_of(other) is None


@pytest.mark.parametrize("kind", OURS)
def test_what_was_written_is_read_back_by_who_has_no_key(bucket: Bucket, kind: str) -> None:
    bucket.store.create(NAMES[kind], BODY)
    assert bucket.reader().get(NAMES[kind]) == BODY
    assert bucket.reader().exists(NAMES[kind])
    assert json.loads(bucket.raw.get(NAMES[kind]))["signed"]["key_id"] == bucket.keys.signer().key_id


def edited(data: bytes) -> bytes:
    return data.replace(b'"number":0.1', b'"number":0.2')


def spaced(data: bytes) -> bytes:
    return data.replace(b",", b", ")


def doubled(data: bytes) -> bytes:
    return data.replace(b'{"number":0.1', b'{"number":0.2,"number":0.1')


def redated(data: bytes) -> bytes:
    return data.replace(b'"at_s":1000.0', b'"at_s":1001.0')


def unsigned(data: bytes) -> bytes:
    return canonical_json({name: value for name, value in json.loads(data).items() if name != "signed"})


def without_signature(data: bytes) -> bytes:
    document = json.loads(data)
    del document["signed"]["signature"]
    return canonical_json(document)


FORGERIES: list[Callable[[bytes], bytes]] = [
    edited, spaced, doubled, redated, unsigned, without_signature, lambda _: b"", lambda _: b"[]",
    lambda _: b"[" * 100_000, lambda data: data[:-1], lambda _: b'{"signed":1}', lambda _: b'{"signed":{"at_s":"x"}}',
]  # fmt: skip


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("forge", FORGERIES)
def test_what_somebody_changed_is_not_there_and_is_written_over_with_a_copy_kept(
    bucket: Bucket, kind: str, forge: Callable[[bytes], bytes]
) -> None:
    key = NAMES[kind]
    bucket.store.create(key, BODY)
    planted = forge(bucket.raw.get(key))
    bucket.raw.put(key, planted)
    for reader in (bucket.reader(), bucket.store):
        with pytest.raises(ForeignRecord):
            reader.get(key)
        assert not reader.exists(key)
    bucket.store.create(key, BODY)
    assert bucket.reader().get(key) == BODY
    kept = [] if planted == BODY else [f"{aside_of(key)}{digest_bytes(planted)}/{key}"]
    assert bucket.aside() == kept
    assert [bucket.raw.get(one) for one in kept] == [planted for _ in kept]


def test_a_record_of_ours_is_worth_nothing_under_another_name(bucket: Bucket) -> None:
    bucket.store.create("work/w/claim-000001.json", BODY)
    copy = bucket.raw.get("work/w/claim-000001.json")
    for name in ("work/w/claim-000002.json", "work/v/claim-000001.json", "registrations/w.json"):
        bucket.raw.put(name, copy)
        with pytest.raises(ForeignRecord, match=r"copied here|was changed|does not fit"):
            bucket.reader().get(name)


def test_a_signature_of_another_kind_says_nothing(bucket: Bucket) -> None:
    stamp = {"object": "datasets/d.json", "at_s": 1.0, "key_id": bucket.keys.signer().key_id}
    document = {"id": "d", "signed": stamp}
    value = bucket.keys.signer().sign(canonical_json(document), purpose="ledger").value
    bucket.raw.put("datasets/d.json", canonical_json({**document, "signed": {**stamp, "signature": value}}))
    with pytest.raises(ForeignRecord, match="does not fit"):
        bucket.reader().get("datasets/d.json")


def test_an_approvers_key_makes_no_record_of_the_pipeline_and_the_pipelines_no_adoption(bucket: Bucket) -> None:
    person = Signer.generate()
    bucket.keys.list = bucket.keys.list.replacing(public_half(person, "approver", "alice"))
    bucket.raw.put("datasets/d.json", signed_record({"id": "d"}, "datasets/d.json", person, at_s=1.0))
    with pytest.raises(ForeignRecord, match="approver key"):
        bucket.store.get("datasets/d.json")
    pipelines = signed_record({"records": {}}, NAMES["adoption"], bucket.keys.signer(), at_s=1.0)
    bucket.raw.put(NAMES["adoption"], pipelines)
    with pytest.raises(ForeignRecord, match="pipeline key"):
        bucket.store.get(NAMES["adoption"])


def test_a_key_that_nobody_here_knows_ends_with_exit_6_and_nothing_is_written_over(bucket: Bucket) -> None:
    stranger = signed_record({"id": "d"}, "datasets/d.json", Signer.generate(), at_s=1.0)
    bucket.raw.put("datasets/d.json", stranger)
    for call in (lambda: bucket.store.get("datasets/d.json"), lambda: bucket.store.create("datasets/d.json", BODY)):
        with pytest.raises(SecurityError, match="not in the trusted list") as found:
            call()
        assert found.value.exit_code == 6
    assert bucket.raw.get("datasets/d.json") == stranger
    assert bucket.aside() == []


def test_a_key_that_was_just_added_to_the_list_is_known_at_once(bucket: Bucket) -> None:
    other = Signer.generate()
    bucket.raw.put("datasets/d.json", signed_record({"id": "d"}, "datasets/d.json", other, at_s=1.0))
    bucket.keys.list = bucket.keys.list.replacing(public_half(other, "pipeline", "second machine"))
    assert bucket.store.get("datasets/d.json") == canonical_json({"id": "d"})


def test_the_first_record_of_ours_stands_and_the_same_again_changes_nothing(bucket: Bucket) -> None:
    bucket.store.create("registrations/w.json", BODY)
    before = bucket.raw.get("registrations/w.json")
    RecordStore(bucket.raw, bucket.keys).create("registrations/w.json", BODY)  # later: another time in its signature
    assert bucket.raw.get("registrations/w.json") == before
    with pytest.raises(ObjectExists):
        bucket.store.create("registrations/w.json", canonical_json({"said": "another"}))


def test_who_has_no_key_writes_no_record(bucket: Bucket) -> None:
    with pytest.raises(ConfigurationError, match="holds no key"):
        bucket.reader().create("work/w/e000001/result.json", BODY)
    assert list(bucket.raw.list()) == []


def test_other_objects_pass_through_and_foreign_bytes_under_a_digest_give_way(bucket: Bucket) -> None:
    key = f"shards/{digest_bytes(b'rows')}.safetensors"
    bucket.raw.put(key, b"planted")
    bucket.store.create(key, b"rows")
    assert bucket.store.get(key) == b"rows"
    assert bucket.aside() == [f"{aside_of(key)}{digest_bytes(b'planted')}/{key}"]
    bucket.store.put("leases/r.json", b"{}")
    assert bucket.raw.get("leases/r.json") == b"{}"


@pytest.mark.parametrize("folder", ["decisions", "signatures", "approvals", "ledger"])
def test_what_people_and_gates_said_is_never_written_over(bucket: Bucket, folder: str) -> None:
    key = f"{folder}/{digest_bytes(b'ours')}.json"
    bucket.raw.put(key, b"planted")
    with pytest.raises(ObjectExists):
        bucket.store.create(key, b"ours")
    assert bucket.raw.get(key) == b"planted"
    assert bucket.aside() == []


def test_a_writer_that_races_with_a_stranger_gets_its_record_through(bucket: Bucket) -> None:
    """The stranger writes again between the look and the overwriting."""

    class Racing(MemoryStore):
        left = 3

        def replace(self, key: str, data: bytes, *, etag: str) -> None:
            if self.left:
                self.left -= 1
                self.put(key, b"planted %d" % self.left)
            super().replace(key, data, etag=etag)

    bucket.raw = Racing("b")
    bucket.raw.put("datasets/d.json", b"planted")
    RecordStore(bucket.raw, bucket.keys).create("datasets/d.json", BODY)
    assert bucket.reader().get("datasets/d.json") == BODY
    assert len(bucket.aside()) == 4


def test_a_planted_claim_gives_no_epoch_and_ends_no_attempt(bucket: Bucket) -> None:
    mine = take_claim(bucket.store, "w", parent_version=1, owner="o", now_s=1.0)
    planted: dict[str, Any] = {
        "work_key": "w", "epoch": 2, "parent_version": 7, "owner": "x", "token": "t", "taken_s": 1.0,
    }  # fmt: skip
    bucket.raw.put(claim_key("w", 2), canonical_json(planted))
    bucket.raw.put(claim_key("w", 999_999), canonical_json({**planted, "epoch": 999_999}))
    assert not bucket.store.exists(claim_key("w", 2))
    assert [claim.epoch for claim in read_claims(bucket.store, "w")] == [1]
    following = take_claim(bucket.store, "w", parent_version=3, owner="o", now_s=2.0)
    assert (mine.epoch, following.epoch, following.parent_version) == (1, 2, 1)


def test_what_a_person_adopted_is_believed_as_it_was(bucket: Bucket) -> None:
    old, person = canonical_json({"id": "d"}), Signer.generate()
    bucket.raw.put("datasets/d.json", old)
    with pytest.raises(UnsignedRecord, match="ratchet adopt"):
        bucket.store.get("datasets/d.json")
    adoption = {"pipeline": "digits", "records": {"datasets/d.json": digest_bytes(old)}}
    bucket.raw.put(NAMES["adoption"], signed_record(adoption, NAMES["adoption"], person, at_s=1.0))
    with pytest.raises(UnsignedRecord):  # by somebody who is no approver here
        bucket.store.get("datasets/d.json")
    bucket.keys.list = bucket.keys.list.replacing(public_half(person, "approver", "alice"))
    assert bucket.store.get("datasets/d.json") == old
    bucket.raw.put("datasets/d.json", canonical_json({"id": "d", "rows": 1}))
    with pytest.raises(UnsignedRecord):
        bucket.store.get("datasets/d.json")


def test_who_collects_garbage_sees_what_does_not_verify(bucket: Bucket) -> None:
    bucket.raw.put("registrations/w.json", b"{}")
    assert bare(bucket.store).get("registrations/w.json") == b"{}"
    assert bare(bucket.raw) is bucket.raw
    with pytest.raises(ObjectNotFound):
        bucket.store.get("registrations/w.json")


def test_a_list_without_the_key_believes_nothing(bucket: Bucket) -> None:
    bucket.store.create("datasets/d.json", BODY)
    with pytest.raises(SecurityError, match="not in the trusted list"):
        RecordStore(bucket.raw, PublicKeys(TrustedKeys())).get("datasets/d.json")
