"""Shards: rows as safetensors, named by their SHA-256, read back verified."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest, ShardRef
from mlratchet.models.data.mapped import MappedSide, ShardedColumns, ShardedWords, Told
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.stored import store_once
from mlratchet.models.ports.local_files import LocalCopies, files_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record, Split, inputs_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.sharded import ShardedArray, ShardedInputs
from mlratchet.models.tensors.spec import ONE, TensorSpec
from safetensors.numpy import load, save

READERS = 8  # threads
SOME = 2  # shards that are mapped at once where rows are walked through


def write_shard(store: ObjectStore, records: Sequence[Record], tensors: Sequence[TensorSpec] = ()) -> ShardRef:
    """Publish the records; returns the reference. `tensors`: of a workload that names its own."""
    x = inputs_of(records, tensors)
    integer = isinstance(records[0].y, int)
    y = np.asarray([record.y for record in records], dtype=np.int64 if integer else np.float32)
    names = sorted({name for record in records for name in record.columns})
    columns = {name: [record.columns.get(name, "") for record in records] for name in names}
    return publish_shard(store, Split(ids=[record.id for record in records], x=x, y=y, columns=columns))


def write_split(store: ObjectStore, rows: Split, *, rows_per_shard: int) -> tuple[ShardRef, ...]:
    """Publish rows that have been read before; returns the references in order."""
    pieces = [slice(at, at + rows_per_shard) for at in range(0, len(rows.ids), rows_per_shard)]
    return tuple(
        publish_shard(
            store,
            Split(
                ids=rows.ids[piece],
                x=rows.x.rows(piece),
                y=rows.y[piece],
                columns={name: values[piece] for name, values in rows.columns.items()},
            ),
        )
        for piece in pieces
    )


def publish_shard(store: ObjectStore, rows: Split) -> ShardRef:
    """The rows as one shard; returns the reference."""
    words = np.frombuffer(canonical_json({"ids": rows.ids, "columns": rows.columns}), dtype=np.uint8)
    named = rows.x.arrays() | {"y": rows.y, "about": words}
    data = save({name: np.ascontiguousarray(one) for name, one in named.items()})
    ref = ShardRef(sha256=digest_bytes(data), rows=len(rows.ids))
    store_once(store, ref.key, data)  # what is there already is not sent again
    return ref


def first_rows(store: ObjectStore, manifest: DatasetManifest, side: str, count: int) -> Split:
    """At most `count` rows of a side, from its first shard alone. Raises ``DigestMismatch`` for a changed one."""
    ref = manifest.splits[side][0]
    rows = load_split(store, manifest.model_copy(update={"splits": {side: (ref,)}}), side)
    columns = {name: values[:count] for name, values in rows.columns.items()}
    return Split(
        ids=rows.ids[:count], x=rows.x.rows(slice(count)), y=rows.y[:count], columns=columns, dataset_id=manifest.id
    )


def load_split(store: ObjectStore, manifest: DatasetManifest, side: str, *, ahead: int = 0) -> Split:
    """Every row of a side. `ahead`: so many shards are downloaded side by side before anybody looks at the first, where
    they are mapped. Raises ``DigestMismatch`` for a changed shard, ``ValueError`` for an unknown side."""
    if side not in manifest.splits:
        raise ValueError(f"no side {side!r} in dataset {manifest.id[:12]}; there are {', '.join(manifest.splits)}")
    refs = manifest.splits[side]
    if not refs:
        return Split(ids=[], x=Inputs({ONE: np.zeros((0,), np.float32)}), y=np.zeros((0,), np.int64))
    files = files_of(store)
    if files is not None and about_bytes(store, refs) >= files.smallest_bytes:
        return mapped_split(files, refs, dataset_id=manifest.id, ahead=ahead)
    return _rows_of(store, refs, dataset_id=manifest.id)


def about_bytes(store: ObjectStore, refs: Sequence[ShardRef]) -> int:
    """Of all shards, by the size of the first: rows are of about the same. Raises ``ObjectNotFound``."""
    rows = sum(ref.rows for ref in refs)
    return store.head(refs[0].key).size_bytes * rows // max(1, refs[0].rows)


def mapped_split(files: LocalCopies, refs: Sequence[ShardRef], *, dataset_id: str = "", ahead: int = 0) -> Split:
    """The rows of these shards, read where they are looked at. `ahead`: as for `load_split`."""
    side = MappedSide(files, refs, most_open=SOME)
    if ahead:
        side.ahead(range(min(ahead, len(refs))))
    told = Told(side)
    return Split(
        ids=ShardedWords(told),
        x=ShardedInputs(side),
        y=ShardedArray(side.ends, side.targets),  # type: ignore[arg-type]  # an array in all that is asked of it
        columns=ShardedColumns(told),
        dataset_id=dataset_id,
    )


def read_shard(store: ObjectStore, ref: ShardRef) -> Split:
    """The rows of one shard. Raises ``DigestMismatch`` for a changed one."""
    return _rows_of(store, (ref,))


def _rows_of(store: ObjectStore, refs: Sequence[ShardRef], *, dataset_id: str = "") -> Split:
    with ThreadPoolExecutor(READERS) as pool:
        parts = list(pool.map(lambda ref: load(store.get(ref.key, sha256=ref.sha256)), refs))
    abouts = [json.loads(part["about"].tobytes()) for part in parts]
    names = sorted({name for about in abouts for name in about["columns"]})
    return Split(
        ids=[identity for about in abouts for identity in about["ids"]],
        x=Inputs.concat([Inputs.from_arrays(part) for part in parts]),
        y=np.concatenate([part["y"] for part in parts]),
        columns={
            name: [value for about in abouts for value in about["columns"].get(name, [""] * len(about["ids"]))]
            for name in names
        },
        dataset_id=dataset_id,
    )
