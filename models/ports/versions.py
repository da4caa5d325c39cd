"""A bucket that keeps every version of an object: what was overwritten or deleted can be read as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from mlratchet.models.ports.storage import ObjectInfo, ObjectStore


@runtime_checkable
class VersionedStore(Protocol):
    """One bucket, whose server may keep versions."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    def keeps_versions(self) -> bool:
        """Whether a version stays when its object is overwritten or deleted from now on."""
        ...

    def list_versions(self, prefix: str = "", *, older: bool = False) -> Iterator[ObjectInfo]:
        """The newest version of every object that is there, in key order; each says its `version`. `older`: also those
        that were overwritten or deleted since, which are not `latest`."""
        ...

    def get_version(self, key: str, version: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """The bytes [start, start + length) of one version. Raises as `ObjectStore.get_range`; ``ObjectNotFound`` for a
        version that was deleted."""
        ...


def source_of(store: ObjectStore, bucket: str) -> VersionedStore | None:
    """The bucket of that name, where whoever opened the store said how others are opened (`sources`)."""
    opens: Any = getattr(store, "sources", None)
    found = opens(bucket) if opens is not None else None
    return found if isinstance(found, VersionedStore) else None
