"""The chain of one writer, as it is continued: a file is uploaded, then the signed record that makes it count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_records import ForeignRecord, RecordStore, bare, verified_record, write_over
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.inference_log.file import Holds, LogFile, Stretch, object_key, parse_log_file, record_key
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest record of a chain."""

    number: int = 0  # 0: there is none
    digest: str = ""  # SHA-256 hex of the record as it was published
    sha256: str = ""  # of its file
    written_s: float = 0.0
    settled_s: float = 0.0
    servers: Mapping[str, Stretch] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """What the record of a file is made of, beside its place in the chain."""

    version: int
    rows: int
    first_s: float
    last_s: float
    settled_s: float
    statuses: Mapping[str, int] = field(default_factory=dict)
    dropped: int = 0
    unclosed: int = 0
    servers: Mapping[str, Stretch] = field(default_factory=dict)


class WriterChain:
    """One chain. Used by one thread of one process: that of the writer whose name it has."""

    def __init__(
        self, store: ObjectStore, keys: Keys, *, pipeline: str, writer: str, holds: Holds, head: Head | None = None
    ) -> None:
        """`keys`: their signer is the log writer's. `head`: what the writer remembers outside of the bucket; None:
        nothing, and the bucket says it."""
        self._store, self._keys = bare(store), keys
        self._records = RecordStore(self._store, keys)
        self._pipeline, self._writer, self._holds = pipeline, writer, holds
        self.head = self._newest(head or Head())

    def _newest(self, remembered: Head) -> Head:
        """The newest record in the bucket, and never one before that which is remembered: where somebody cut the end of
        the chain, its number is not given again, and the gap shows."""
        numbers = remembered.number
        folder = record_key(self._pipeline, self._holds, self._writer, 0).rpartition("/")[0] + "/"
        after = record_key(self._pipeline, self._holds, self._writer, numbers)
        found = remembered
        for info in self._store.list(folder, after=after):
            try:
                head, _ = self.read(info.key)
            except ObjectNotFound:  # nobody's: it is written over when its number comes
                continue
            if head.number > found.number:
                found = head
        return found

    def read(self, key: str) -> tuple[Head, LogFile]:
        """A record of this chain. Raises ``ObjectNotFound`` for one that does not verify."""
        found = read_record(self._store, self._keys.trusted(), key)
        said = found.said
        head = Head(
            number=said.number, digest=found.digest, sha256=said.sha256, written_s=said.written_s,
            settled_s=said.settled_s, servers=said.servers,
        )  # fmt: skip
        return head, said

    def append(self, data: bytes, facts: FileFacts) -> LogFile:
        """Publish a file (`data`: Parquet; empty: only what was lost is told) and its record.

        May be repeated with the same bytes after whatever interrupted it. Raises ``StorageError``, ``ObjectExists``
        where another process writes this chain.
        """
        sha256, number = digest_bytes(data) if data else "", self.head.number + 1
        key = object_key(
            self._pipeline, self._holds, version=facts.version, at_s=facts.first_s, writer=self._writer, number=number
        )
        said = LogFile(
            pipeline=self._pipeline, holds=self._holds, writer=self._writer, number=number, previous=self.head.digest,
            object=key if data else "", sha256=sha256, size_bytes=len(data), rows=facts.rows, version=facts.version,
            first_s=facts.first_s, last_s=facts.last_s, statuses=dict(facts.statuses), dropped=facts.dropped,
            unclosed=facts.unclosed,
            servers={name: one for name, one in self.head.servers.items() if not one.ended} | dict(facts.servers),
            written_s=max(self.head.written_s, facts.last_s), settled_s=max(self.head.settled_s, facts.settled_s),
        )  # fmt: skip
        if data:
            put_file(self._store, key, data)
            fault_point("log.after_object")
        name = record_key(self._pipeline, self._holds, self._writer, number)
        self._records.create(name, said.body())
        self.head, _ = self.read(name)
        return said


class VerifiedLogFile(NamedTuple):
    """A record that verified."""

    said: LogFile
    digest: str  # SHA-256 hex of its bytes


def read_record(store: ObjectStore, trusted: TrustedKeys, key: str) -> VerifiedLogFile:
    """Raises ``ObjectNotFound`` (``ForeignRecord``) for one that does not verify."""
    where = f"{store.bucket}/{key}"
    data = bare(store).get(key)
    try:
        body = canonical_json(verified_record(data, key, trusted, where=where))
    except ForeignRecord:
        raise
    except SecurityError as error:  # by a key that is not in the list
        raise ForeignRecord(str(error)) from error
    return VerifiedLogFile(parse_log_file(body, key, where=where), digest_bytes(data))


def put_file(store: ObjectStore, key: str, data: bytes) -> None:
    """Upload a file under its name; what somebody else left there is kept aside and written over. Only the digest in
    the record makes a file ours."""
    try:
        store.create(key, data)
    except ObjectExists:
        write_over(store, key, data)
