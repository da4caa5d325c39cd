"""The registration record: the one canonical version of a work key, and where its bytes are.

`registrations/<work key>.json` is published once by conditional create. Servers and audits read it instead of
the registry, which is a projection.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.record_kinds import is_misnamed
from mlratchet.models.identity.signed_records import ForeignRecord, UnsignedRecord, without_stamp
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from pydantic import Field

READERS = 16  # threads
MOVE_AWAY = (
    "Ratchet wrote no such object: look at it, and move it out of registrations/ with an S3 client, which "
    '`eval "$(ratchet env)"` gives address and keys'
)
PUT_BACK = "put it back from a copy of the bucket; `ratchet audit NAME` says of each pipeline what else was changed"


class MadeOf(StrictModel):
    """The parts of the identities of a version, as JSON values."""

    work: dict[str, Any]
    """Their digest is the work key."""
    dataset: dict[str, Any]
    """Their digest is the dataset's id."""


class Registration(StrictModel):
    """What was registered for a work key."""

    name: str
    version: int
    work_key: str
    run_id: str
    model_id: str | None
    source_uri: str
    """`s3://bucket/prefix` of the artifact's files."""
    manifest: dict[str, Any]
    """Path -> SHA-256 of every file, and the signature."""
    manifest_digest: str
    weights_key: str
    """Store key of the weights, for warm starts."""
    weights_sha256: str
    snapshot_id: str
    dataset_id: str
    rows_key: str
    """Store key of the candidate's per-row outputs on the test rows."""
    revision: str
    """Of the pipeline file."""
    parent_version: int | None
    parent_registration: str | None = None
    """Digest of the parent's record; None without a parent, and where it was not written down yet."""
    began_fresh: str = ""
    """Why it has no parent although the file asked for the champion."""
    registered_s: float
    description: str = ""
    """The model card, as the registry shows it."""
    tags: dict[str, str] = Field(default_factory=dict)
    """As the version got them when it was made."""
    made_of: MadeOf | None = None
    """None where an earlier release wrote the record, whose identities were over folders."""
    tracking: str | None = None
    """Store key of what the tracking run showed (`models/registration/tracking.py`)."""

    def digest(self) -> str:
        """SHA-256 hex of the record as it is stored. A field that a later release adds is not part of an older one."""
        return digest(self.model_dump(mode="json", exclude_unset=True))


def registration_key(work_key: str) -> str:
    """Where the record of a work key is published."""
    return f"registrations/{work_key}.json"


def find_registration(store: ObjectStore, work_key: str) -> Registration | None:
    """The record of a work key, or None. Raises ``SecurityError`` for an object that is none, or another's."""
    try:
        return _parse(store, registration_key(work_key))
    except ObjectNotFound:
        return None


def _parse(store: ObjectStore, key: str) -> Registration:
    where = f"{store.bucket}/{key}"
    try:
        record = Registration(**without_stamp(json.loads(store.get(key))))
    except (ValueError, TypeError, AttributeError, RecursionError) as exc:
        raise SecurityError(f"{where}: is not a registration; it was changed") from exc
    if registration_key(record.work_key) != key:
        raise SecurityError(f"{where}: is of work {record.work_key[:12]}; it was changed")
    made_of = record.made_of
    if made_of is not None and (digest(made_of.work), digest(made_of.dataset)) != (record.work_key, record.dataset_id):
        raise SecurityError(
            f"{where}: the parts that it names are not those of its work key and dataset; it was changed"
        )
    return record


def publish_registration(store: ObjectStore, record: Registration) -> Registration:
    """Publish by conditional create; the one that came first stands and is returned, as it is stored."""
    record = Registration(**record.model_dump(mode="json"))
    try:
        store.create(registration_key(record.work_key), canonical_json(record.model_dump(mode="json")))
    except ObjectExists:
        first = find_registration(store, record.work_key)
        assert first is not None, "registrations are never deleted"
        return first
    return record


def list_registrations(store: ObjectStore) -> dict[str, list[Registration]]:
    """Every record by pipeline, versions ascending. Raises ``SecurityError`` where an object among them is none: what a
    version needs is not known then."""
    records, damaged = readable_registrations(store)
    if damaged:
        more = f" (and {len(damaged) - 1} more: `ratchet reconcile` names each)" if len(damaged) > 1 else ""
        raise SecurityError(f"{damaged[0]}{more}. Nothing was done: until then nobody knows what every version needs")
    return records


def readable_registrations(store: ObjectStore) -> tuple[dict[str, list[Registration]], list[SecurityError]]:
    """Every record that is one, by pipeline, versions ascending; and what is wrong with the others, and what to do."""
    found: dict[str, list[Registration]] = {}
    damaged: list[SecurityError] = []

    def read(key: str) -> Registration | SecurityError | None:
        try:
            return _parse(store, key)
        except UnsignedRecord:
            return None  # of before records were signed: nothing is believed of it, and nothing undone
        except (SecurityError, ForeignRecord) as error:
            return SecurityError(f"{error}; {MOVE_AWAY if is_misnamed(key) else PUT_BACK}")

    keys = [info.key for info in store.list("registrations/")]
    with ThreadPoolExecutor(READERS) as pool:
        for record in pool.map(read, keys):
            if isinstance(record, SecurityError):
                damaged.append(record)
            elif record is not None:
                found.setdefault(record.name, []).append(record)
    return {name: sorted(records, key=lambda r: r.version) for name, records in sorted(found.items())}, damaged
