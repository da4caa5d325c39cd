"""The storage port: a bucket of immutable-by-convention objects with conditional create."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlratchet.models.errors import InfrastructureError, SecurityError


class StorageError(InfrastructureError):
    """The store failed; the message names bucket, key and the vendor's reason."""

    code = "STORAGE"


class CredentialsExpired(StorageError):  # noqa: N818 - the name is the field's own
    """The server no longer takes the credentials: only new ones help."""

    code = "CREDENTIALS"


class ObjectNotFound(StorageError):  # noqa: N818 - the name is the field's own
    """No object has this key."""


class ObjectExists(StorageError):  # noqa: N818 - the name is the field's own
    """A conditional create lost: the key holds other bytes."""


class DigestMismatch(SecurityError):  # noqa: N818 - the name is the field's own
    """The bytes read are not those that the digest names."""


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What a listing or a head says of one object."""

    key: str
    size_bytes: int
    etag: str  # opaque; changes when the bytes change
    modified_s: float  # seconds since the epoch, by the server's clock
    version: str = ""  # where versions were asked for (`versions.py`)
    latest: bool = True  # False: a version that was overwritten or deleted since


@runtime_checkable
class ObjectStore(Protocol):
    """One bucket. Keys are relative, without ``..``, backslash, NUL or a leading slash
    (``SecurityError`` otherwise). Every read can be checked against a SHA-256 of our own."""

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        """Whole object. Raises ``ObjectNotFound``, ``DigestMismatch`` when `sha256` (hex) differs."""
        ...

    def get_range(self, key: str, start: int, length: int, *, sha256: str | None = None) -> bytes:
        """The bytes [start, start + length) of an object: fewer where it ends before, none behind its end.

        Raises ``ObjectNotFound``, ``DigestMismatch`` when `sha256` (hex, of these bytes) differs, ``ValueError`` for a
        negative number.
        """
        ...

    def put(self, key: str, data: bytes) -> None:
        """Write, replacing what is there. For projections and raw data only."""
        ...

    def put_stream(self, key: str, parts: Iterable[bytes]) -> None:
        """Write an object of any size, at least one part, replacing what is there: nothing is seen before all of it is.
        Every part but the last has 5 MiB or more; a few are in memory."""
        ...

    def create(self, key: str, data: bytes | bytearray) -> None:
        """Write only if the key is free. Raises ``ObjectExists`` when it holds other bytes.

        Idempotent: it succeeds when the key already holds exactly `data` (a lost reply is read back),
        so whoever must win alone puts a token of its own into the bytes.
        """
        ...

    def replace(self, key: str, data: bytes, *, etag: str) -> None:
        """Write only while the object is still the one with this ETag. Raises ``ObjectExists`` when it is another by
        now, ``ObjectNotFound`` when it is gone."""
        ...

    def upload_file(self, key: str, path: Path) -> str:
        """Upload (multipart when large); returns the SHA-256 hex of the bytes sent."""
        ...

    def download_file(self, key: str, path: Path, *, sha256: str | None = None) -> str:
        """Download to `path` atomically (written beside it, then renamed); returns the SHA-256 hex."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Raises ``ObjectNotFound``."""
        ...

    def exists(self, key: str) -> bool:
        """Whether the key holds an object."""
        ...

    def list(self, prefix: str = "", *, after: str = "") -> Iterator[ObjectInfo]:
        """All objects whose key starts with `prefix` and is greater than `after`, in key order, across pages."""
        ...

    def delete(self, key: str) -> None:
        """Idempotent."""
        ...
