"""What a tracking run showed, kept in the bucket: an empty tracking server is filled again from it."""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.config import StrictModel
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectStore


class TrackingRecord(StrictModel):
    """One run, without its per-step metrics and its files."""

    experiment: str
    run_name: str
    work_key: str
    parameters: dict[str, str]
    points: tuple[tuple[str, float, int, float], ...]
    """Metric, value, step, seconds since the epoch."""
    dataset_name: str
    dataset_digest: str
    dataset_uri: str


def publish_tracking(store: ObjectStore, record: TrackingRecord) -> str:
    """Write `tracking/<digest>.json`; returns the key."""
    body = canonical_json(record.model_dump(mode="json"))
    key = f"tracking/{digest_bytes(body)}.json"
    store.create(key, body)
    return key


def load_tracking(store: ObjectStore, key: str) -> TrackingRecord:
    """Read back, verified. Raises ``DigestMismatch`` for a changed one."""
    sha256 = key.removeprefix("tracking/").removesuffix(".json")
    document: dict[str, Any] = json.loads(store.get(key, sha256=sha256))
    points = tuple((str(name), float(value), int(step), float(at_s)) for name, value, step, at_s in document["points"])
    return TrackingRecord(**{**document, "points": points})
