"""Garbage: what no ledger, registration or attempt under way refers to."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from mlratchet.models.ports.storage import ObjectInfo, ObjectStore

CHECKPOINT = re.compile(r"^work/(?P<key>[0-9a-f]{64})/e\d+/checkpoints/")
UPLOAD = re.compile(r"^(?P<folder>[^/]+/models/m-[0-9a-f]+/artifacts)/")
SETTLED_S = 3600.0  # an upload younger than this may belong to a run that has not registered it yet


def collect(
    store: ObjectStore, uploads: ObjectStore, *, delete: bool, now_s: float | None = None
) -> list[dict[str, Any]]:
    """Checkpoints of registered work, and uploads that no registration took; markers are deleted first.

    Args:
        store: The store bucket.
        uploads: MLflow's artifact bucket.
        delete: Otherwise only listed.
        now_s: Seconds since the epoch; the clock without it.
    """
    records = {info.key: json.loads(store.get(info.key)) for info in store.list("registrations/")}
    registered = {key.removeprefix("registrations/").removesuffix(".json") for key in records}
    taken = {
        str(record["source_uri"]).removeprefix(f"s3://{uploads.bucket}/").rstrip("/") for record in records.values()
    }
    before_s = (now_s if now_s is not None else time.time()) - SETTLED_S
    checkpoints = [
        info
        for info in store.list("work/")
        if (match := CHECKPOINT.match(info.key)) is not None and match["key"] in registered
    ]
    checkpoints.sort(key=lambda info: (not info.key.endswith("marker.json"), info.key))
    orphans = [
        info
        for info in uploads.list()
        if (match := UPLOAD.match(info.key)) is not None and match["folder"] not in taken and info.modified_s < before_s
    ]
    for bucket, found in ((store, checkpoints), (uploads, orphans)):
        for info in found if delete else ():
            bucket.delete(info.key)
    return [_line(store, info) for info in checkpoints] + [_line(uploads, info) for info in orphans]


def _line(bucket: ObjectStore, info: ObjectInfo) -> dict[str, Any]:
    return {"bucket": bucket.bucket, "key": info.key, "size_bytes": info.size_bytes}
