"""The storage port in memory, for rehearsals and tests: it refuses the keys that a bucket of ours refuses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

from mlratchet.infra.storage.keys import check_key
from mlratchet.models.ports.memory import ObjectsInMemory, check_range, verify
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound


class MemoryStore(ObjectsInMemory):
    """One bucket in this process. Thread-safe."""

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        return super().get(check_key(key), sha256=sha256)

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        return super().get_range(check_key(key), start, length, sha256=sha256)

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        super().put(check_key(key), data)

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """See the port."""
        super().put_stream(check_key(key), parts)

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        super().create(check_key(key), data)

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        super().replace(check_key(key), data, etag=etag)

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        return super().head(check_key(key))

    def exists(self, key: str) -> bool:
        """See the port."""
        return super().exists(check_key(key))

    def delete(self, key: str) -> None:
        """See the port."""
        super().delete(check_key(key))


class VersionedMemoryStore(MemoryStore):
    """The same of a bucket that keeps versions. See `VersionedStore`."""

    def __init__(self, bucket: str = "versioned") -> None:
        super().__init__(bucket)
        self._versions: dict[str, dict[str, bytes]] = {}  # by key, oldest first

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        super().put(key, data)
        self._keep(key, data)

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        super().create(key, data)
        self._keep(key, data)

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        super().replace(key, data, etag=etag)
        self._keep(key, data)

    def _keep(self, key: str, data: bytes | bytearray) -> None:
        held = self._versions.setdefault(key, {})
        held[f"v{max((int(one[1:]) for one in held), default=0) + 1}"] = bytes(data)

    def keeps_versions(self) -> bool:
        """Always."""
        return True

    def list_versions(self, prefix: str = "", *, older: bool = False) -> Iterator[ObjectInfo]:
        """See `VersionedStore`."""
        there = {info.key: info for info in self.list(prefix)}
        for key in sorted(self._versions):
            held = list(reversed(self._versions[key])) if key.startswith(prefix) else []
            if key in there and held:
                yield replace(there[key], version=held.pop(0))
            for version in held if older else ():
                data = self._versions[key][version]
                etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
                yield ObjectInfo(
                    key=key, size_bytes=len(data), etag=etag, modified_s=0.0, version=version, latest=False
                )

    def get_version(self, key: str, version: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See `VersionedStore`."""
        check_range(start, length)
        data = self._versions.get(check_key(key), {}).get(version)
        if data is None:
            raise ObjectNotFound(f"{self.bucket}/{key}: no version {version}")
        found = data[start : start + length]
        verify(self.bucket, key, hashlib.sha256(found).hexdigest(), sha256)
        return found

    def delete_version(self, key: str, version: str) -> None:
        """For good."""
        del self._versions[key][version]
