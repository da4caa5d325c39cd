"""The storage port in memory, for rehearsals and tests: it refuses the keys that a bucket of ours refuses."""

from __future__ import annotations

from collections.abc import Iterable

from mlratchet.infra.storage.keys import check_key
from mlratchet.models.ports.memory import ObjectsInMemory
from mlratchet.models.ports.storage import ObjectInfo


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
