"""Raw objects by their digest. One that was changed or is gone is copied again from where it was delivered, as long as
its bytes are still there: without that, one overwritten object would end every run of the delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable

from mlratchet.models.data.snapshot import Snapshot, folder_of
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore
from mlratchet.models.sources.record import RawObject

logger = logging.getLogger(__name__)


def raw_objects(
    store: ObjectStore, snapshot: Snapshot, delivered: ObjectStore | None = None
) -> Callable[[RawObject], bytes]:
    """A function that gives the bytes of an object of the snapshot. `delivered`: the bucket that it was taken of.

    It raises ``DigestMismatch`` for an object that was changed and ``ObjectNotFound`` for one that is gone; both name
    what was delivered.
    """
    folder = folder_of(snapshot.prefix)

    def fetch(item: RawObject) -> bytes:
        key = f"raw/{item.sha256}"
        try:
            return store.get(key, sha256=item.sha256)
        except (DigestMismatch, ObjectNotFound) as error:
            changed = isinstance(error, DigestMismatch)
            what = "holds other bytes than" if changed else "is gone, the copy of"
            found = _delivered(delivered, f"{folder}{item.key}", item.sha256)
            if found is None or delivered is None:
                where = f"s3://{delivered.bucket}/{folder}{item.key}" if delivered is not None else "the source"
                raise type(error)(
                    f"{store.bucket}/{key}: {what} what was delivered as {folder}{item.key}, and {where} does not hold "
                    "it any more: restore one of the two from a copy, or deliver that file again as it was"
                ) from error
            store.create(key, found)  # what lies there is kept aside by a `RecordStore`
            logger.warning(
                "%s/%s %s what was delivered as %s%s: copied again from s3://%s/%s%s, verified by its digest",
                store.bucket, key, what, folder, item.key, delivered.bucket, folder, item.key,
            )  # fmt: skip
            return found

    return fetch


def _delivered(delivered: ObjectStore | None, key: str, sha256: str) -> bytes | None:
    """What lies there now, if it is still that."""
    try:
        found = delivered.get(key) if delivered is not None else b""
    except ObjectNotFound:
        return None
    return found if digest_bytes(found) == sha256 else None
