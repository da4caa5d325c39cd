"""Signed records: what lies under a name of ours is believed only if a key that may make it signed it under this name.

A record is a JSON object with one field more, `signed`: the name of the object it was made for, when, by which key, and
the signature over the canonical JSON of all of it but the signature itself. The name holds the pipeline or the work key
and the epoch, so a record that is copied to another name does not verify there.

Whoever writes to the bucket can plant anything under a name of ours. What does not verify is read as if it were not
there; whoever has the key and needs the name keeps a copy of it under `aside/` and writes over it. That may cost a
retry, never a belief. Ledger, decisions and approvals have signatures of their own, and are never written over.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.record_kinds import is_misnamed, kind_of
from mlratchet.models.identity.signing import (
    DetachedSignature,
    Signer,
    TrustedKeys,
    refuse_outside_life,
)
from mlratchet.models.ports.local_files import LocalCopies, files_of
from mlratchet.models.ports.memory import check_range
from mlratchet.models.ports.storage import ObjectExists, ObjectInfo, ObjectNotFound, ObjectStore, StorageError

logger = logging.getLogger(__name__)

SIGNED = "signed"  # the field of a record that says who signed it
ASIDE = "aside/"
ASIDE_OF_LOG = "log/_aside/"  # no pipeline has such a name
ADOPTIONS = "adoptions/"
ADOPTABLE = ("registration", "dataset", "snapshot", "gate-run")  # no person's word chooses what runs take
ADOPT = "`ratchet adopt NAME`"  # what to type; who knows the pipeline says its name
WHO_ADOPTS = (  # who has to do what, for a user who holds no such key
    f"somebody with an approver's key takes over, once, what is of before records were signed: {ADOPT} (`ratchet keys` "
    "lists them, `ratchet keys new --owner NAME` makes one)"
)
NEVER_REPLACED = ("ledger/", "decisions/", "signatures/", "approvals/")  # what is wrong there is for a person
TRIES = 8  # at a name that somebody else writes to at the same time


class ForeignRecord(ObjectNotFound):
    """No record of ours has this name: what lies there does not verify."""

    code = "FOREIGN"
    exit_code = 6


class UnsignedRecord(ForeignRecord):
    """It is not signed at all: of before records were, or somebody's."""

    code = "UNSIGNED"


class RevokedRecord(ForeignRecord):
    """By a key of ours that was revoked, and nothing shows that it is older: its work is done again."""

    code = "REVOKED"


def signed_record(document: Mapping[str, Any], key: str, signer: Signer, *, at_s: float) -> bytes:
    """The bytes of a record.

    Args:
        document: JSON values; the field `signed` is replaced.
        key: Name of the object that will hold it.
        signer: A key whose role may make this kind.
        at_s: Seconds since the epoch.
    """
    kind = kind_of(key)
    if kind is None:
        raise ValueError(f"{key} is not the name of a signed record")
    stamp = {"object": key, "at_s": at_s, "key_id": signer.key_id}
    signature = signer.sign(canonical_json({**document, SIGNED: stamp}), purpose=kind.purpose)
    return canonical_json({**document, SIGNED: {**stamp, "signature": signature.value}})


def without_stamp(document: dict[str, Any]) -> dict[str, Any]:
    """What the record says, whoever signed it."""
    return {name: value for name, value in document.items() if name != SIGNED}


def body_of(data: bytes) -> bytes:
    """The same of bytes, for who reads a bucket without a `RecordStore` and knows by other means what to believe."""
    document = json.loads(data)
    return canonical_json(without_stamp(document)) if isinstance(document, dict) and SIGNED in document else data


def verified_record(data: bytes, key: str, trusted: TrustedKeys, *, where: str) -> dict[str, Any]:
    """What a record says, without the field `signed`.

    Raises ``UnsignedRecord``, ``RevokedRecord`` or ``ForeignRecord`` for what is none of ours, and ``SecurityError``
    for one that is signed by a key which is not in the list.
    """
    kind = kind_of(key)
    assert kind is not None, key
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or SIGNED not in document:
        taken_over = WHO_ADOPTS if kind.purpose in ADOPTABLE else "it is none of ours, and counts for nothing"
        raise UnsignedRecord(f"{where}: is not signed; {taken_over}")
    try:
        stamp = dict(document[SIGNED])
        signature = DetachedSignature(str(stamp["key_id"]), str(stamp.pop("signature")))
        at_s = float(stamp["at_s"])
        told = canonical_json({**document, SIGNED: stamp})
        if canonical_json(document) != data:  # two fields of one name, other spaces: the signature is over the values
            raise ValueError("not in canonical form")
        if stamp["object"] != key:
            raise ForeignRecord(f"{where}: was signed as {str(stamp['object'])[:200]}; it was copied here")
    except (ArithmeticError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ForeignRecord(f"{where}: is not a signed record; it was changed") from error
    unknown = trusted.get(signature.key_id) is None
    try:
        key_used = trusted.verify(
            signature, told, purpose=kind.purpose, role=kind.role, at_s=at_s, what=where, anchored="noted"
        )
    except SecurityError as error:
        if unknown:
            raise
        raise ForeignRecord(str(error)) from error
    try:
        refuse_outside_life(key_used, at_s, what=where, anchored=False)
    except SecurityError as error:
        raise RevokedRecord(str(error)) from error
    return without_stamp(document)


def bare(store: ObjectStore) -> ObjectStore:
    """The bucket as it is, whoever wrote what lies there: for who must not take a record that does not verify for
    absent, as the garbage collector."""
    return store.beneath if isinstance(store, RecordStore) else store


def keep_aside(store: ObjectStore, key: str, held: bytes) -> None:
    """A copy of what somebody left under a name of ours."""
    place = aside_of(key)
    store.create(f"{place}{digest_bytes(held)}/{key}", held)
    logger.warning("%s/%s is not ours: a copy is under %s, and it is written over", store.bucket, key, place)


def aside_of(key: str) -> str:
    """Where copies of what lay under a name are kept: who writes the log may write nowhere else."""
    return ASIDE_OF_LOG if key.startswith("log/") else ASIDE


def write_over(store: ObjectStore, key: str, ours: bytes) -> None:
    """Put `ours` where somebody left other bytes, of which a copy is kept aside. Raises ``ObjectExists`` when somebody
    else writes there at the same time."""
    etag = store.head(key).etag  # before the bytes are read: what is written over is what was kept, or nothing is
    keep_aside(store, key, store.get(key))
    store.replace(key, ours, etag=etag)


class RecordStore:
    """The store port over a bucket in which others may write: records are signed when they are written, and verified
    when they are read; everything else is passed through.

    A get with a digest needs no signature: whoever knows the digest has it from something that is believed.
    """

    def __init__(self, beneath: ObjectStore, keys: Keys, *, now: Callable[[], float] = time.time) -> None:
        self.beneath, self._keys, self._now = beneath, keys, now
        self._adopted: dict[str, set[str]] = {}  # name -> SHA-256 hex
        self._adoptions: set[str] = set()  # names of those that were read

    @property
    def bucket(self) -> str:
        """See the port."""
        return self.beneath.bucket

    @property
    def files(self) -> LocalCopies | None:
        """Copies of objects that are named by their digest; they need no signature."""
        return files_of(self.beneath)

    @property
    def sources(self) -> Any:
        """What opens other buckets: versions of their objects are verified by their digests."""
        return getattr(self.beneath, "sources", None)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port. Raises ``ForeignRecord, which is an ``ObjectNotFound``, for a record that does not verify."""
        if sha256 is None and is_misnamed(key):
            raise ForeignRecord(f"{self.bucket}/{key}: is not the name of a record of ours")
        data = self.beneath.get(key, sha256=sha256)
        return data if sha256 is not None or kind_of(key) is None else self._believed(key, data)

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port. A record is read whole: its signature is over all of it."""
        if sha256 is None and kind_of(key) is not None:
            check_range(start, length)
            return self.get(key)[start : start + length]
        return self.beneath.get_range(key, start, length, sha256=sha256)

    def _believed(self, key: str, data: bytes) -> bytes:
        try:
            found = verified_record(data, key, self._keys.trusted(), where=f"{self.bucket}/{key}")
        except ForeignRecord:
            if not self.was_adopted(key, data):
                raise
            found = without_stamp(json.loads(data))
        return canonical_json(found)

    def was_adopted(self, key: str, data: bytes) -> bool:
        """Whether a person has vouched for these very bytes under this name (`ratchet adopt`)."""
        kind = kind_of(key)
        if kind is None or kind.purpose not in ADOPTABLE:
            return False
        for info in self.beneath.list(ADOPTIONS):
            if info.key in self._adoptions or kind_of(info.key) is None:
                continue
            where = f"{self.bucket}/{info.key}"
            try:
                said = verified_record(self.beneath.get(info.key), info.key, self._keys.trusted(), where=where)
            except (SecurityError, ObjectNotFound) as error:
                logger.warning("%s", error)
                continue
            self._adoptions.add(info.key)
            for name, sha256 in dict(said.get("records", {})).items():
                self._adopted.setdefault(str(name), set()).add(str(sha256))
        return digest_bytes(data) in self._adopted.get(key, ())

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        if kind_of(key) is None:
            if is_misnamed(key):
                raise ValueError(f"{key} lies where records do and is not the name of one: nobody would believe it")
            self.beneath.put(key, data)
            return
        try:
            self.create(key, data)
        except ObjectExists:
            self.beneath.put(key, self._signed(key, data))

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """See the port."""
        if kind_of(key) is not None or is_misnamed(key):
            raise ValueError(f"{key}: a record is written by `create`, which signs it")
        self.beneath.put_stream(key, parts)

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port. A foreign object under the name of a record is kept aside and written over."""
        if kind_of(key) is None:
            self._create_other(key, data)
            return
        record = self._signed(key, data)
        for _ in range(TRIES):
            try:
                self.beneath.create(key, record)
            except ObjectExists:
                if self._stands_or_is_replaced(key, data, record):
                    return
            else:
                return
        raise StorageError(f"create {self.bucket}/{key}: somebody else writes there at the same time; try again")

    def _create_other(self, key: str, data: bytes | bytearray) -> None:
        """Of an object that is named by its digest, other bytes under the name are foreign, too."""
        if is_misnamed(key):
            raise ValueError(f"{key} lies where records do and is not the name of one: nobody would believe it")
        try:
            self.beneath.create(key, data)
        except ObjectExists:
            if key.startswith(NEVER_REPLACED) or digest_bytes(data) not in key:
                raise
            write_over(self.beneath, key, bytes(data))

    def _signed(self, key: str, data: bytes | bytearray) -> bytes:
        return signed_record(json.loads(data), key, self._keys.signer(), at_s=self._now())

    def _stands_or_is_replaced(self, key: str, data: bytes | bytearray, record: bytes) -> bool:
        """Whether the name holds what was to be written by now; False to try again. Raises ``ObjectExists`` when
        another record of ours stands there."""
        try:
            info = self.beneath.head(key)
            held = self.beneath.get(key)
        except ObjectNotFound:
            return False
        wanted = canonical_json(json.loads(data))
        try:
            stands = self._believed(key, held)
        except ForeignRecord:
            try:
                if held == wanted:  # the same, of before records were signed
                    self.beneath.replace(key, record, etag=info.etag)
                else:
                    keep_aside(self.beneath, key, held)
                    self.beneath.replace(key, record, etag=info.etag)
            except (ObjectExists, ObjectNotFound):
                return False
            return True
        if stands != wanted:
            raise ObjectExists(f"{self.bucket}/{key}: holds other bytes")
        return True

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        self.beneath.replace(key, self._signed(key, data) if kind_of(key) is not None else data, etag=etag)

    def exists(self, key: str) -> bool:
        """See the port. A record that does not verify does not exist."""
        if kind_of(key) is None and not is_misnamed(key):
            return self.beneath.exists(key)
        try:
            self.get(key)
        except ObjectNotFound:
            return False
        return True

    def upload_file(self, key: str, path: Path) -> str:
        """See the port."""
        if kind_of(key) is not None:
            raise ValueError(f"{key}: a record is written by `create`, which signs it")
        return self.beneath.upload_file(key, path)

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        return self.beneath.download_file(key, path, sha256=sha256)

    def head(self, key: str) -> ObjectInfo:
        """See the port: of the bytes, whoever wrote them."""
        return self.beneath.head(key)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port: names, whoever wrote what they hold."""
        return self.beneath.list(prefix, after=after)

    def delete(self, key: str) -> None:
        """See the port."""
        self.beneath.delete(key)
