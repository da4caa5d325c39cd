"""Garbage: what no ledger, registration, deployment, claim or living run refers to."""

from __future__ import annotations

import getpass
import re
import uuid
from collections.abc import Callable
from typing import Any

from mlratchet.infra.machine.scratch import is_gone, lease_of
from mlratchet.infra.storage.shard_cache import ShardCache
from mlratchet.models.fault_points import fault_point
from mlratchet.models.garbage.kinds import CHECKPOINT, REPORTS
from mlratchet.models.garbage.lock import collecting
from mlratchet.models.garbage.reachable import Retention, Survey, survey
from mlratchet.models.identity.lease import HeldError, LeaseKeeper, live_leases, server_now
from mlratchet.models.identity.signed_records import bare
from mlratchet.models.ports.local_files import files_of
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore

UPLOAD = re.compile(r"^(?P<folder>[^/]+/models/m-[0-9a-f]+/artifacts)/")
KEEP = Retention()


def collect(
    store: ObjectStore,
    uploads: ObjectStore,
    *,
    delete: bool,
    now_s: float | None = None,
    retention: Retention = KEEP,
) -> list[dict[str, Any]]:
    """List what is garbage, and delete it if asked to; markers are deleted first.

    While another run lives, what a run could take up again is neither listed nor deleted.

    Args:
        store: The store bucket.
        uploads: MLflow's artifact bucket.
        delete: Otherwise only listed; runs that begin meanwhile wait.
        now_s: Seconds since the epoch; the store's clock without it.
        retention: How long what is kept.
    """

    store = bare(store)

    def look(busy: bool) -> list[tuple[ObjectStore, ObjectInfo]]:
        now = now_s if now_s is not None else server_now(store)
        live = frozenset(held.lease.run for held in live_leases(store, is_gone=is_gone))
        found = survey(store, now_s=now, retention=retention, live_runs=live)
        mine = [info for info in found.garbage if not busy or is_private(info.key)]
        return [(store, info) for info in mine] + [
            (uploads, info) for info in orphans(uploads, found, before_s=now - retention.grace_s)
        ]

    if not delete:
        return [_line(*one) for one in look(bool(live_leases(store, is_gone=is_gone)))]
    copies = files_of(store)
    if isinstance(copies, ShardCache):  # of shards, on this machine: to the bound that is set now
        copies.trim()
    me = lease_of(uuid.uuid4().hex, "gc", getpass.getuser())
    with collecting(store, me, is_gone=is_gone) as (busy, keeper):
        return delete_all(look(busy), _line, keeper)


def delete_all(
    found: list[tuple[ObjectStore, ObjectInfo]],
    line: Callable[[ObjectStore, ObjectInfo], dict[str, Any]],
    keeper: LeaseKeeper,
) -> list[dict[str, Any]]:
    """One by one, in order: a kill leaves nothing that refers to what is gone.

    Raises ``HeldError`` when this process was stopped for so long that a run may have begun beside it.
    """
    lines: list[dict[str, Any]] = []
    for bucket, info in found:
        if keeper.lapsed:
            raise HeldError(
                f"this collection gave no sign of life for a minute, so a run may need what was found: {len(lines)} of "
                f"{len(found)} objects are deleted; run `ratchet gc --delete` again"
            )
        bucket.delete(info.key)
        lines.append(line(bucket, info))
        fault_point("gc.after_delete")
    return lines


def is_private(key: str) -> bool:
    """Whether no run could take the object up again."""
    return CHECKPOINT.match(key) is not None or key.startswith(REPORTS)


def orphans(uploads: ObjectStore, found: Survey, *, before_s: float) -> list[ObjectInfo]:
    """Files of artifacts that nothing needs."""
    taken = {uri.removeprefix(f"s3://{uploads.bucket}/").rstrip("/") for uri in found.uploads}
    return [
        info
        for info in uploads.list()
        if (match := UPLOAD.match(info.key)) is not None and match["folder"] not in taken and info.modified_s < before_s
    ]


def _line(bucket: ObjectStore, info: ObjectInfo) -> dict[str, Any]:
    return {"bucket": bucket.bucket, "key": info.key, "size_bytes": info.size_bytes}
