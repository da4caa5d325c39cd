"""The registration record: the one canonical version of a work key, and where its bytes are.

`registrations/<work key>.json` is published once by conditional create. Servers and audits read it instead of
the registry, which is a projection.
"""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.pipeline.strict import StrictModel
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


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
    registered_s: float


def registration_key(work_key: str) -> str:
    """Where the record of a work key is published."""
    return f"registrations/{work_key}.json"


def find_registration(store: ObjectStore, work_key: str) -> Registration | None:
    """The record of a work key, or None."""
    try:
        return Registration(**json.loads(store.get(registration_key(work_key))))
    except ObjectNotFound:
        return None


def publish_registration(store: ObjectStore, record: Registration) -> None:
    """Publish by conditional create. Raises ``ObjectExists`` when another record came first."""
    store.create(registration_key(record.work_key), canonical_json(record.model_dump(mode="json")))
