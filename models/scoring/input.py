"""The objects to score: listed, and each with the digest of its bytes before a child reads it."""

from __future__ import annotations

import hashlib

from mlratchet.models.errors import DataError
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.scoring.places import BucketPlace
from mlratchet.models.sources.record import PIECE_BYTES, RawObject


def listed(store: ObjectStore, place: BucketPlace) -> tuple[ObjectInfo, ...]:
    """Every object of the place that is no folder's marker, in key order; keys are below its prefix. Raises
    ``DataError`` where there is none."""
    found = tuple(
        ObjectInfo(
            key=one.key.removeprefix(place.prefix), size_bytes=one.size_bytes, etag=one.etag, modified_s=one.modified_s
        )
        for one in store.list(place.prefix)
        if not one.key.endswith("/")
    )
    if not found:
        raise DataError(f"{place}: no object; nothing to score")
    return found


def with_digest(store: ObjectStore, place: BucketPlace, info: ObjectInfo) -> RawObject:
    """The object with the SHA-256 of its bytes and, of a large one, of every 8 MiB: what is read later is held against
    them. A few pieces are in memory. Raises ``DataError`` for one that is not as it was listed."""
    whole, pieces, key, size = hashlib.sha256(), list[str](), f"{place.prefix}{info.key}", 0

    def read(start: int) -> bytes:
        return store.get_range(key, start, PIECE_BYTES)

    try:
        for data in side_by_side(read, range(0, info.size_bytes, PIECE_BYTES), readers=2, ahead=2):
            whole.update(data)
            size += len(data)
            pieces.append(hashlib.sha256(data).hexdigest())
        if store.head(key).etag != info.etag or size != info.size_bytes:
            raise DataError(f"{place}{info.key}: changed since it was listed; run again")
    except ObjectNotFound as error:
        raise DataError(f"{place}{info.key}: is gone since it was listed; run again") from error
    many = tuple(pieces) if info.size_bytes > PIECE_BYTES else ()
    return RawObject(key=info.key, size_bytes=info.size_bytes, sha256=whole.hexdigest(), pieces=many)
