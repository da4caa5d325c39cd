"""The storage port in memory: what is handed to one child and forgotten afterwards; the store of tests."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from mlratchet.models.ports.storage import DigestMismatch, ObjectExists, ObjectInfo, ObjectNotFound
from mlratchet.models.ports.temporary import folder_for

SMALL_BYTES = 64 << 10  # of an object that no file is made for


class InFile:
    """Bytes in a file of their own."""

    def __init__(self, file: Path, data: bytes | bytearray) -> None:
        self._file, self._size = file, file.write_bytes(data)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        at, end, _ = part.indices(self._size)
        with self._file.open("rb") as source:
            source.seek(at)
            return source.read(max(0, end - at))

    def remove(self) -> None:
        """Nobody asks for them again."""
        self._file.unlink(missing_ok=True)


class ObjectsInMemory:
    """One bucket in this process. Thread-safe."""

    def __init__(self, bucket: str = "memory") -> None:
        self._bucket = bucket
        self._objects: dict[str, tuple[bytes | InFile, float]] = {}
        self._lock = threading.Lock()

    def _kept(self, data: bytes | bytearray) -> bytes | InFile:
        """What holds the bytes of an object."""
        return bytes(data)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port."""
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            data = self._objects[key][0][:]
        verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        check_range(start, length)
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            data = self._objects[key][0][start : start + length]
        verify(self._bucket, key, hashlib.sha256(data).hexdigest(), sha256)
        return data

    def put(self, key: str, data: bytes) -> None:
        """See the port."""
        with self._lock:
            self._objects[key] = (self._kept(data), time.time())

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """See the port."""
        self.put(key, b"".join(parts))

    def create(self, key: str, data: bytes | bytearray) -> None:
        """See the port."""
        with self._lock:
            held = self._objects.get(key)
            if held is None:
                self._objects[key] = (self._kept(data), time.time())
            elif held[0][:] != data:
                raise ObjectExists(f"{self._bucket}/{key}: holds other bytes")

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """See the port."""
        with self._lock:
            if key not in self._objects:
                raise ObjectNotFound(f"{self._bucket}/{key}: no such object")
            if self._info(key).etag != etag and self._objects[key][0][:] != data:
                raise ObjectExists(f"{self._bucket}/{key}: holds other bytes by now")
            self._objects[key] = (self._kept(data), time.time())

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
        etag = hashlib.md5(data[:], usedforsecurity=False).hexdigest()
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


class ObjectsOnDisk(ObjectsInMemory):
    """The same for much: what is no small object lies in a file, for as long as this store is there."""

    def __init__(self, bucket: str = "disk", folder: Path | None = None) -> None:
        """`folder`: where a folder for the files is made; None: where temporary files are."""
        super().__init__(bucket)
        self._files = folder_for("objects", below=folder)
        self._numbers = count()

    def _kept(self, data: bytes | bytearray) -> bytes | InFile:
        if len(data) < SMALL_BYTES:
            return bytes(data)
        return InFile(Path(self._files.name, str(next(self._numbers))), data)

    def delete(self, key: str) -> None:
        """See the port."""
        with self._lock:
            gone, _ = self._objects.pop(key, (None, 0.0))
        if isinstance(gone, InFile):
            gone.remove()


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
