"""Large raw objects are copied piece by piece: what is in memory are a few pieces, however large the object is.

Its digest is its name, so it is known only at its end: an object that is held in memory as a whole is read once, any
other twice, and the second reading is held against the digests of the first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from mlratchet.models.errors import DataError
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import DigestMismatch, ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.ports.versions import VersionedStore
from mlratchet.models.sources.record import PIECE_BYTES

READERS = 4  # pieces of one object that are read at once
HELD_BYTES = 64 << 20  # of an object that is read once


def copy_large(raw: ObjectStore, store: ObjectStore, info: ObjectInfo) -> tuple[str, tuple[str, ...]]:
    """Copy an object to `raw/<sha256>` unless it is there, whole. Returns its SHA-256 hex, and that of every piece.

    Raises ``DataError`` for an object that changes meanwhile.
    """
    held = list[bytes]()
    sha256, pieces = digests_of(raw, info, held if info.size_bytes <= HELD_BYTES else None)
    key = f"raw/{sha256}"
    if not is_held(store, key, info.size_bytes, pieces):
        store.put_stream(key, held or _pieces(raw, info, pieces))
    return sha256, pieces


def digests_of(raw: ObjectStore, info: ObjectInfo, held: list[bytes] | None = None) -> tuple[str, tuple[str, ...]]:
    """SHA-256 hex of an object, and of every piece of it. `held`: takes the pieces. Raises ``DataError`` as above."""
    whole, pieces = hashlib.sha256(), list[str]()
    for data in _pieces(raw, info):
        whole.update(data)
        pieces.append(hashlib.sha256(data).hexdigest())
        if held is not None:
            held.append(data)
    return whole.hexdigest(), tuple(pieces)


def range_of(raw: ObjectStore, info: ObjectInfo, start: int, length: int, sha256: str | None = None) -> bytes:
    """Of the version that was listed, where versions were."""
    if not info.version:
        return raw.get_range(info.key, start, length, sha256=sha256)
    assert isinstance(raw, VersionedStore), "it listed versions"
    return raw.get_version(info.key, info.version, start, length, sha256=sha256)


def _pieces(raw: ObjectStore, info: ObjectInfo, digests: Sequence[str] | None = None) -> Iterator[bytes]:
    def read(start: int) -> bytes:
        length = min(PIECE_BYTES, info.size_bytes - start)
        sha256 = digests[start // PIECE_BYTES] if digests is not None else None
        try:
            data = range_of(raw, info, start, length, sha256)
        except DigestMismatch as error:
            raise DataError(f"{info.key}: source changed during the read: {error}") from error
        if len(data) != length:
            raise DataError(
                f"{info.key}: source changed during the read: listed {info.size_bytes} bytes, "
                f"it ends after {start + len(data)}"
            )
        return data

    return side_by_side(read, range(0, info.size_bytes, PIECE_BYTES), readers=READERS, ahead=READERS)


def is_held(store: ObjectStore, key: str, size_bytes: int, pieces: Sequence[str]) -> bool:
    """Whether the store has these bytes under the key, read piece by piece."""

    def fits(number: int) -> bool:
        at = number * PIECE_BYTES
        try:
            store.get_range(key, at, min(PIECE_BYTES, size_bytes - at), sha256=pieces[number])
        except (DigestMismatch, ObjectNotFound):
            return False
        return True

    try:
        if store.head(key).size_bytes != size_bytes:
            return False
    except ObjectNotFound:
        return False
    return all(side_by_side(fits, range(len(pieces)), readers=READERS, ahead=READERS))
