"""The bytes of every delivery that snapshots name: of copies in the store, and of versions that are pinned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from mlratchet.models.data.snapshot import Snapshot, SnapshotObject, folder_of
from mlratchet.models.erasure.older_versions import told_version
from mlratchet.models.erasure.parts import ErasureBuckets
from mlratchet.models.errors import SecurityError
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.ports.versions import VersionedStore, source_of


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """One delivered object of a snapshot."""

    name: str  # below the prefix of the source
    sha256: str
    place: str  # `bucket/key` of the copy, whether it is there or not
    where: str  # the line that tells a person of it
    data: bytes
    is_copy: bool  # in the store; else a pinned version in the bucket of the source


class Copies:
    """Of a store."""

    def __init__(self, store: ObjectStore, buckets: ErasureBuckets) -> None:
        self._store, self._buckets = store, buckets

    def of(self, snapshots: Iterable[Snapshot]) -> Iterator[Delivered]:
        """Each content once, a copy first; what neither has any more is passed over."""
        named: dict[str, tuple[str, list[ObjectInfo], str]] = {}  # SHA-256 -> name, pinned versions, their bucket
        for one in snapshots:
            for item in one.objects:
                name, pins, bucket = named.get(item.sha256, (item.key, [], one.bucket))
                if item.version:
                    pins, bucket = [*pins, _pin(one, item)], one.bucket
                named[item.sha256] = (name, pins, bucket)
        for sha256, (name, pins, bucket) in sorted(named.items()):
            key = f"raw/{sha256}"
            place = f"{self._store.bucket}/{key}"
            with suppress(ObjectNotFound):
                data = self._store.get(key)
                yield Delivered(name=name, sha256=sha256, place=place, where=place, data=data, is_copy=True)
            source = self._source(bucket) if pins else None
            for info in {(pin.key, pin.version): pin for pin in pins}.values():
                with suppress(ObjectNotFound, SecurityError):
                    if source is not None:
                        data = source.get_version(info.key, info.version, 0, info.size_bytes, sha256=sha256)
                        where = told_version(bucket, info)
                        yield Delivered(name=name, sha256=sha256, place=place, where=where, data=data, is_copy=False)

    def _source(self, bucket: str) -> VersionedStore | None:
        raw = self._buckets.raw
        if raw.bucket == bucket and isinstance(raw, VersionedStore):
            return raw
        return source_of(self._buckets.store, bucket)


def _pin(snapshot: Snapshot, item: SnapshotObject) -> ObjectInfo:
    key = f"{folder_of(snapshot.prefix)}{item.key}"
    return ObjectInfo(key=key, size_bytes=item.size_bytes, etag=item.etag, modified_s=0.0, version=item.version)


def content_of(bucket: ObjectStore, info: ObjectInfo) -> bytes:
    """Of an object, or of the version that a listing names."""
    if info.version and not info.latest:
        assert isinstance(bucket, VersionedStore), "it listed versions"
        return bucket.get_version(info.key, info.version, 0, info.size_bytes)
    return bucket.get(info.key)
