"""Objects as files of this machine: a store that keeps copies of what is named by its digest says where they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class LocalCopies(Protocol):
    """Verified copies of immutable objects, bounded in bytes. Thread-safe."""

    @property
    def bound_bytes(self) -> int:
        """What all copies together may take."""
        ...

    @property
    def smallest_bytes(self) -> int:
        """Of objects that are read together: fewer are read into memory, and no copies are kept of them."""
        ...

    def file(self, key: str, sha256: str) -> Path:
        """A file with the bytes that the digest names, downloaded where it is not there yet.

        It stays for as long as somebody holds a shared lock (`flock`) on it; without one it may be gone the next
        moment. Raises ``ObjectNotFound``, ``DigestMismatch`` for bytes that stay others when they are read again, and
        ``StorageError`` where there is no room.
        """
        ...

    def ahead(self, objects: Sequence[tuple[str, str]]) -> None:
        """Begin to download these (key, SHA-256 hex); returns at once, and what goes wrong is met by `file`."""
        ...


def files_of(store: object) -> LocalCopies | None:
    """The local copies that a store keeps; None where it keeps none."""
    found: LocalCopies | None = getattr(store, "files", None)
    return found
