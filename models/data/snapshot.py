"""The snapshot: an immutable manifest of the raw objects of one run.

Its id is the digest of the sorted (key, size, SHA-256, and pieces of a large one); the objects are kept under
`raw/<sha256>`, so that a delivery which overwrites its keys cannot change what an earlier run was trained on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from mlratchet.models.config import StrictModel
from mlratchet.models.data.large_objects import copy_large, digests_of, range_of
from mlratchet.models.errors import ConfigurationError, DataError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest, digest_bytes
from mlratchet.models.identity.signed_records import ForeignRecord, body_of
from mlratchet.models.identity.stored import store_once, stored_document
from mlratchet.models.ports.storage import ObjectInfo, ObjectNotFound, ObjectStore
from mlratchet.models.ports.versions import VersionedStore
from mlratchet.models.sources.record import PIECE_BYTES, RawObject
from pydantic import Field

COPIERS = 16  # threads that read and copy
MOST_LISTINGS = 8  # of the newest that are looked at for one of ours


class SnapshotObject(StrictModel):
    """One raw object."""

    key: str
    """Below the source prefix."""
    size_bytes: int
    sha256: str
    etag: str
    """For reading only: another server may say another."""
    pieces: tuple[str, ...] = Field(default=(), strict=False)
    """SHA-256 of every 8 MiB of an object that has more, so that a range of it can be verified. Believed as far as the
    id tells them, which snapshots of earlier releases do not."""
    version: str = ""
    """Of an object that is pinned, in the bucket of the source; for reading only. Empty: there is a copy."""


class Snapshot(StrictModel):
    """All raw objects of one run."""

    id: str
    prefix: str
    objects: tuple[SnapshotObject, ...]
    bucket: str = ""
    """Where pinned versions are."""

    def raw_objects(self) -> list[RawObject]:
        """As a workload sees them."""
        return [RawObject(key=o.key, size_bytes=o.size_bytes, sha256=o.sha256, pieces=o.pieces) for o in self.objects]


def snapshot_id(objects: tuple[SnapshotObject, ...]) -> str:
    """SHA-256 hex of the sorted (key, size, SHA-256, and of a large one the SHA-256 of each piece)."""
    return digest(sorted([o.key, o.size_bytes, o.sha256, *([list(o.pieces)] if o.pieces else [])] for o in objects))


def _parse(store: ObjectStore, key: str) -> Snapshot:
    try:
        return Snapshot.model_validate_json(body_of(store.get(key)))
    except (ValueError, RecursionError) as error:
        raise SecurityError(f"{store.bucket}/{key}: is not a snapshot; it was changed") from error


def load_snapshot(store: ObjectStore, identity: str) -> Snapshot:
    """A published snapshot. Raises ``SecurityError`` when its id is not the digest of its objects."""
    snapshot = _parse(store, f"snapshots/{identity}.json")
    if snapshot_id(snapshot.objects) != identity:  # of an earlier release: nobody vouches for the digests of its pieces
        whole = tuple(one.model_copy(update={"pieces": ()}) for one in snapshot.objects)
        snapshot = snapshot.model_copy(update={"objects": whole})
    if snapshot_id(snapshot.objects) != identity or snapshot.id != identity:
        raise SecurityError(
            f"{store.bucket}/snapshots/{identity}.json: its objects do not match its id; it was changed"
        )
    return snapshot


def folder_of(prefix: str) -> str:
    """A prefix is a folder: what lies in `plant-old/` is none of `plant`."""
    return prefix if prefix.endswith("/") else f"{prefix}/"


def _listed(raw: ObjectStore, folder: str, *, pin: bool = False) -> list[ObjectInfo]:
    """Every object of a folder; the empty objects by which S3 consoles mark folders, and the files in which a Mac keeps
    what other systems have no place for, are nothing."""
    found = raw.list_versions(folder) if pin and isinstance(raw, VersionedStore) else raw.list(folder)
    return [info for info in found if not _is_mark(info, info.key.removeprefix(folder).split("/"))]


def _is_mark(info: ObjectInfo, parts: list[str]) -> bool:
    return (parts[-1] == "" and info.size_bytes == 0) or parts[-1].startswith("._") or "__MACOSX" in parts


def _empty(raw: ObjectStore, prefix: str, folder: str) -> DataError:
    beside = next(iter(raw.list(prefix)), None) if folder != prefix else None
    hint = f"; a prefix is a folder, and {beside.key} does not lie in it" if beside is not None else ""
    return DataError(f"s3://{raw.bucket}/{folder}: no objects{hint}; deliver data there or correct source.prefix")


def take_snapshot(raw: ObjectStore, store: ObjectStore, *, prefix: str, pin: bool = False) -> Snapshot:
    """List the source, copy what is new, publish `snapshots/<id>.json`. `prefix` is a folder, whatever it ends in.
    `pin`: nothing is copied, the snapshot says which versions of the source's objects it is made of.

    An unchanged source costs one listing and two small reads; otherwise only objects with a new ETag are read.
    Raises ``DataError`` for an empty source, colliding keys, or a source that changed during the read;
    ``SecurityError`` for a key that could leave its place; ``ConfigurationError`` for a bucket without versions.
    """
    given, prefix = prefix, folder_of(prefix)
    if pin:
        _refuse_without_versions(raw)
    listed = _listed(raw, prefix, pin=pin)
    if not listed:
        raise _empty(raw, given, prefix)
    _check_keys(listed, prefix)
    pinned = [[i.version for i in listed]] if pin else []
    fingerprint = digest([raw.bucket, prefix, [[i.key, i.size_bytes, i.etag] for i in listed], *pinned])
    pointer = f"listings/{digest([raw.bucket, prefix])}/{fingerprint}.json"
    with suppress(ObjectNotFound):  # no such listing yet, or one of the two is not ours: everything is read
        return load_snapshot(store, stored_document(store, pointer, "snapshot")["snapshot"])

    known = _newest_known(store, digest([raw.bucket, prefix]))

    def copy(info: ObjectInfo) -> SnapshotObject:
        name = info.key.removeprefix(prefix)
        held = known.get((name, info.size_bytes, info.etag))
        if held is not None and (pin or not held.version):
            return held.model_copy(update={"version": info.version})
        if pin:
            return _pinned(raw, info, name)
        if info.size_bytes > PIECE_BYTES:
            sha256, pieces = copy_large(raw, store, info)
            return SnapshotObject(key=name, size_bytes=info.size_bytes, sha256=sha256, etag=info.etag, pieces=pieces)
        data = raw.get(info.key)
        if len(data) != info.size_bytes:
            raise DataError(
                f"{info.key}: source changed during the read: listed {info.size_bytes} bytes, got {len(data)}"
            )
        sha256 = digest_bytes(data)
        store_once(store, f"raw/{sha256}", data)
        return SnapshotObject(key=name, size_bytes=info.size_bytes, sha256=sha256, etag=info.etag)

    small = [info for info in listed if info.size_bytes <= PIECE_BYTES]
    with ThreadPoolExecutor(COPIERS) as pool:
        copied = list(pool.map(copy, small))
    copied += [copy(info) for info in listed if info.size_bytes > PIECE_BYTES]  # each by several threads
    objects = tuple(sorted(copied, key=lambda o: o.key))
    if not pin and [(i.key, i.etag) for i in _listed(raw, prefix)] != [(i.key, i.etag) for i in listed]:
        raise DataError(
            f"s3://{raw.bucket}/{prefix}: source changed during the read; run again when the delivery is complete"
        )
    snapshot = _publish(
        store,
        Snapshot(id=snapshot_id(objects), prefix=prefix, objects=objects, bucket=raw.bucket if pin else ""),
    )
    store.put(pointer, canonical_json({"snapshot": snapshot.id}))
    return snapshot


def extended(store: ObjectStore, snapshot: Snapshot, name: str, data: bytes) -> Snapshot:
    """The snapshot with one object more, which nobody delivered: published as any other. Raises ``DataError`` where the
    delivery has one of that name."""
    form = unicodedata.normalize("NFC", name).casefold()
    if any(unicodedata.normalize("NFC", one.key).casefold() == form for one in snapshot.objects):
        raise DataError(f"{snapshot.prefix}{name}: was delivered, and is the name of rows of ours; rename it")
    sha256 = digest_bytes(data)
    store_once(store, f"raw/{sha256}", data)
    added = SnapshotObject(key=name, size_bytes=len(data), sha256=sha256, etag="", pieces=pieces_of(data))
    objects = tuple(sorted((*snapshot.objects, added), key=lambda one: one.key))
    made = snapshot.model_copy(update={"id": snapshot_id(objects), "objects": objects})
    return _publish(store, made)


def pieces_of(data: bytes) -> tuple[str, ...]:
    """SHA-256 of every `PIECE_BYTES` of what is larger; nothing of what is not."""
    if len(data) <= PIECE_BYTES:
        return ()
    return tuple(digest_bytes(data[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES))


def _refuse_without_versions(raw: ObjectStore) -> None:
    if not isinstance(raw, VersionedStore) or not raw.keeps_versions():
        raise ConfigurationError(
            f"source.snapshot: pin, and bucket {raw.bucket} keeps no versions of its objects: switch them on "
            f"(`aws s3api put-bucket-versioning --bucket {raw.bucket} --versioning-configuration Status=Enabled`), or "
            "write snapshot: copy"
        )


def _pinned(raw: ObjectStore, info: ObjectInfo, name: str) -> SnapshotObject:
    """Read once for its digests, copied nowhere."""
    if info.size_bytes > PIECE_BYTES:
        sha256, pieces = digests_of(raw, info)
    else:
        sha256, pieces = digest_bytes(range_of(raw, info, 0, info.size_bytes)), ()
    return SnapshotObject(
        key=name, size_bytes=info.size_bytes, sha256=sha256, etag=info.etag, pieces=pieces, version=info.version
    )


def _publish(store: ObjectStore, snapshot: Snapshot) -> Snapshot:
    """As it stands then: equal content may come with other ETags and versions, which are not part of the identity. Of
    what is pinned the newest versions stand."""
    key = f"snapshots/{snapshot.id}.json"
    data = canonical_json(snapshot.model_dump(mode="json", exclude_defaults=True))
    if not store.exists(key):
        store.create(key, data)
        return snapshot
    held = load_snapshot(store, snapshot.id)
    if held.bucket and held != snapshot:
        store.put(key, data)
        return snapshot
    return held


def _newest_known(store: ObjectStore, source: str) -> Mapping[tuple[str, int, str], SnapshotObject]:
    """Objects of the newest snapshot of this source, by (key, size, ETag)."""
    pointers = sorted(store.list(f"listings/{source}/"), key=lambda info: info.modified_s, reverse=True)
    for pointer in pointers[:MOST_LISTINGS]:
        with suppress(ForeignRecord):
            snapshot = load_snapshot(store, stored_document(store, pointer.key, "snapshot")["snapshot"])
            return {(o.key, o.size_bytes, o.etag): o for o in snapshot.objects}
    return {}


def _check_keys(listed: list[ObjectInfo], prefix: str) -> None:
    folded: dict[str, str] = {}
    for info in listed:
        parts = info.key.split("/")
        if ".." in parts or "\\" in info.key or "\0" in info.key or info.key.startswith("/"):
            raise SecurityError(
                f"object key {info.key!r} below {prefix!r} holds '..', '\\', NUL or a leading '/'; rename it"
            )
        form = unicodedata.normalize("NFC", info.key).casefold()
        if form in folded:
            raise DataError(
                f"keys {folded[form]!r} and {info.key!r} differ only in case or Unicode form; rename one of them"
            )
        folded[form] = info.key
