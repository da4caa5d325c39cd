"""Raw objects by their digest. One that was changed or is gone is copied again from where it was delivered, as long as
its bytes are still there: without that, one overwritten object would end every run of the delivery."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from mlratchet.models.data.large_objects import copy_large
from mlratchet.models.data.snapshot import Snapshot, folder_of
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.ports.storage import DigestMismatch, ObjectNotFound, ObjectStore
from mlratchet.models.ports.versions import source_of
from mlratchet.models.sources.record import PIECE_BYTES, RawObject

logger = logging.getLogger(__name__)


def raw_objects(store: ObjectStore, snapshot: Snapshot, delivered: ObjectStore | None = None) -> RawObjects:
    """What gives the bytes of an object of the snapshot. `delivered`: the bucket that it was taken of."""
    return RawObjects(store, snapshot, delivered)


class RawObjects:
    """Gives the bytes of raw objects, whole or in ranges, verified; from several threads.

    Raises ``DigestMismatch`` for an object that was changed and ``ObjectNotFound`` for one that is gone, where the
    source does not hold it any more either; both name what was delivered. Of an object that is pinned, its version in
    the source is read.
    """

    def __init__(self, store: ObjectStore, snapshot: Snapshot, delivered: ObjectStore | None) -> None:
        self._store, self._folder, self._delivered = store, folder_of(snapshot.prefix), delivered
        self._pins = {one.key: one.version for one in snapshot.objects if one.version}
        self._pinned_in = snapshot.bucket
        self._source = source_of(store, snapshot.bucket) if self._pins else None

    def __call__(self, item: RawObject) -> bytes:
        """All of its bytes."""
        if item.key in self._pins:
            return self._pinned(item, 0, item.size_bytes, item.sha256)
        return self._mended(item, lambda: self._store.get(f"raw/{item.sha256}", sha256=item.sha256))

    def _pinned(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        """From the source, or where there is one from a copy that an earlier snapshot made."""
        name, version = f"{self._folder}{item.key}", self._pins[item.key]
        where = f"s3://{self._pinned_in}/{name}"
        if self._source is None:
            raise ConfigurationError(
                f"{where}: the snapshot pins version {version} of it, and bucket {self._pinned_in} is not opened here, "
                "or keeps no versions any more"
            )
        try:
            return self._source.get_version(name, version, start, length, sha256=sha256)
        except (ObjectNotFound, DigestMismatch) as error:
            with suppress(ObjectNotFound, DigestMismatch):
                return self._store.get_range(f"raw/{item.sha256}", start, length, sha256=sha256)
            what = "was deleted" if isinstance(error, ObjectNotFound) else "holds other bytes than were pinned"
            raise type(error)(
                f"{where}: version {version}, which the snapshot pins, {what}: deliver that file again as it was, or "
                "restore the version; with source.snapshot: copy a run keeps copies of its own"
            ) from error

    def read_range(self, item: RawObject, start: int, length: int, sha256: str | None) -> bytes:
        """The bytes [start, start + length), held against `sha256` where there is one."""
        if item.key in self._pins:
            return self._pinned(item, start, length, sha256)
        return self._mended(item, lambda: self._store.get_range(f"raw/{item.sha256}", start, length, sha256=sha256))

    def _mended(self, item: RawObject, read: Callable[[], bytes]) -> bytes:
        """What `read` gives, or gives once the copy was made again."""
        try:
            return read()
        except (DigestMismatch, ObjectNotFound) as error:
            key, name = f"raw/{item.sha256}", f"{self._folder}{item.key}"
            changed = isinstance(error, DigestMismatch)
            what = "holds other bytes than" if changed else "is gone, the copy of"
            delivered = self._delivered
            if delivered is None or not self._copied_again(delivered, key, name, item):
                where = f"s3://{delivered.bucket}/{name}" if delivered is not None else "the source"
                raise type(error)(
                    f"{self._store.bucket}/{key}: {what} what was delivered as {name}, and {where} does not hold "
                    "it any more: restore one of the two from a copy, or deliver that file again as it was"
                ) from error
            logger.warning(
                "%s/%s %s what was delivered as %s: copied again from s3://%s/%s, verified by its digest",
                self._store.bucket, key, what, name, delivered.bucket, name,
            )  # fmt: skip
            return read()

    def _copied_again(self, delivered: ObjectStore, key: str, name: str, item: RawObject) -> bool:
        """Whether what lies there now is still that."""
        try:
            if item.size_bytes <= PIECE_BYTES:
                self._store.create(key, delivered.get(name, sha256=item.sha256))  # what lies there is kept aside
                return True
            info = delivered.head(name)
            return info.size_bytes == item.size_bytes and copy_large(delivered, self._store, info)[0] == item.sha256
        except (DigestMismatch, ObjectNotFound, DataError):
            return False
