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
from mlratchet.models.sources.record import PIECE_BYTES

READERS = 4  # pieces of one object that are read at once
HELD_BYTES = 64 << 20  # of an object that is read once


def copy_large(raw: ObjectStore, store: ObjectStore, info: ObjectInfo) -> tuple[str, tuple[str, ...]]:
    """Copy an object to `raw/<sha256>` unless it is there, whole. Returns its SHA-256 hex, and that of every piece.

    Raises ``DataError`` for an object that changes meanwhile.
    """
    whole, pieces, held = hashlib.sha256(), list[str](), list[bytes]()
    for data in _pieces(raw, info):
        whole.update(data)
        pieces.append(hashlib.sha256(data).hexdigest())
        if info.size_bytes <= HELD_BYTES:
            held.append(data)
    sha256 = whole.hexdigest()
    key = f"raw/{sha256}"
    if not is_held(store, key, info.size_bytes, pieces):
        store.put_stream(key, held or _pieces(raw, info, pieces))
    return sha256, tuple(pieces)


def _pieces(raw: ObjectStore, info: ObjectInfo, digests: Sequence[str] | None = None) -> Iterator[bytes]:
    def read(start: int) -> bytes:
        length = min(PIECE_BYTES, info.size_bytes - start)
        sha256 = digests[start // PIECE_BYTES] if digests is not None else None
        try:
            data = raw.get_range(info.key, start, length, sha256=sha256)
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
