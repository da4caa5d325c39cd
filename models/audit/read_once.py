"""A store that is read for one piece of an audit: what several checks need is fetched once, and nothing is written."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path

from mlratchet.models.ports.storage import ObjectInfo, ObjectStore, StorageError

SHARED = "policies/"  # one policy stands behind very many decisions
MOST_SHARED = 64  # objects; an attacker may have written any number


class SharedReads:
    """Objects that many pieces read, by key. Thread-safe."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[str, str | None], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: ObjectStore, key: str, sha256: str | None) -> bytes:
        """From memory, or from the store."""
        with self._lock:
            held = self._held.get((key, sha256))
        if held is not None:
            return held
        data = store.get(key, sha256=sha256)
        with self._lock:
            self._held[key, sha256] = data
            if len(self._held) > MOST_SHARED:
                self._held.popitem(last=False)
        return data


class ReadOnce:
    """The store port for one generation, in one thread; it is thrown away with what it holds."""

    def __init__(self, store: ObjectStore, shared: SharedReads) -> None:
        self._store, self._shared = store, shared
        self._held: dict[tuple[str, str | None], bytes] = {}

    @property
    def bucket(self) -> str:
        """See the port."""
        return self._store.bucket

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """See the port. Only bytes that fit the digest that is asked for are ever held under it."""
        if sha256 is not None and key.startswith(SHARED):
            return self._shared.get(self._store, key, sha256)
        if (key, sha256) not in self._held:
            self._held[key, sha256] = self._store.get(key, sha256=sha256)
        return self._held[key, sha256]

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """See the port."""
        return self._store.get_range(key, start, length, sha256=sha256)

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        return self._store.list(prefix, after=after)

    def head(self, key: str) -> ObjectInfo:
        """See the port."""
        return self._store.head(key)

    def exists(self, key: str) -> bool:
        """See the port."""
        return self._store.exists(key)

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """See the port."""
        return self._store.download_file(key, path, sha256=sha256)

    def put(self, key: str, _data: bytes) -> None:
        """Refused."""
        raise _refusal(self.bucket, key)

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:  # noqa: ARG002 - the port's name
        """Never done."""
        raise _refusal(self.bucket, key)

    def create(self, key: str, _data: bytes | bytearray) -> None:
        """Refused."""
        raise _refusal(self.bucket, key)

    def replace(self, key: str, _data: bytes, *, etag: str) -> None:  # noqa: ARG002 - the port's name
        """Refused."""
        raise _refusal(self.bucket, key)

    def upload_file(self, key: str, _path: Path) -> str:
        """Refused."""
        raise _refusal(self.bucket, key)

    def delete(self, key: str) -> None:
        """Refused."""
        raise _refusal(self.bucket, key)


def _refusal(bucket: str, key: str) -> StorageError:
    return StorageError(f"{bucket}/{key}: an audit writes nothing")
