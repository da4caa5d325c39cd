"""The storage port in memory: what is handed to one child and forgotten afterwards; the store of tests."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from mlratchet.models.ports.storage import DigestMismatch, ObjectExists, ObjectInfo, ObjectNotFound


class ObjectsInMemory:
    """One bucket in this process. Thread-safe."""

    def __init__(self, bucket: str = "memory") -> None:
        self._bucket = bucket
        self._objects: dict[str, tuple[bytes, float]] = {}
        self._lock = threading.Lock()

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            data = self._objects[key][0]
        verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_range(start, length)
        data = self.get(key)[start : start + length]
        verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        with self._lock:
            self._objects[key] = (bytes(data), time.time())

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        with self._lock:
            held = self._objects.get(key)
            if held is None:
                self._objects[key] = (bytes(data), time.time())
            elif held[0] != data:
                raise ObjectExists(f"{self._bucket}/{key}: holds other bytes")

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            if self._info(key).etag != etag and self._objects[key][0] != data:
                raise ObjectExists(f"{self._bucket}/{key}: holds other bytes by now")
            self._objects[key] = (bytes(data), time.time())

    def upload_file(self, key: str, path: Path) -> str:
        """See the port."""
        data = path.read_bytes()
        self.put(key, data)
        return hashlib.sha256(data).hexdigest()

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        data = self.get(key, sha256=sha256)
        path.write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            return self._info(key)

    def _info(self, key: str) -> ObjectInfo:
        data, modified_s = self._objects[key]
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return ObjectInfo(key=key, size_bytes=len(data), etag=etag, modified_s=modified_s)

    def exists(self, key: str) -> bool:
        """See the port."""
        with self._lock:
            return key in self._objects

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        with self._lock:
            found = [self._info(key) for key in sorted(self._objects) if key.startswith(prefix) and key > after]
        yield from found

    def delete(self, key: str) -> None:
        """See the port."""
        with self._lock:
            self._objects.pop(key, None)


def check_range(start: int, length: int) -> None:
    """Raises ``ValueError`` for a range that there cannot be."""
    if start < 0 or length < 0:
        raise ValueError(f"a range begins at 0 or later and has 0 bytes or more, got start {start}, length {length}")


def verify(bucket: str, key: str, got: str, expected: str | None) -> None:
    """Raises ``DigestMismatch`` naming the object when the digests differ."""
    if expected is not None and got != expected:
        raise DigestMismatch(
            f"{bucket}/{key}: got SHA-256 {got[:12]}, expected {expected[:12]}; the bytes were changed or damaged"
        )
