"""Preprocess: the records of a snapshot become the shards of a dataset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest, ShardRef, dataset_id, load_dataset
from mlratchet.models.data.prepared_shards import is_whole, mend_preparation, prepare_shards
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.row_index import index_bytes
from mlratchet.models.data.rules import AS_USUAL, QualityConfig, ruled
from mlratchet.models.data.shards import write_shard
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.data.split import SIDES, Sides, sides_of
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.record import Record, Reject, target_names
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.guarded import guarded_records
from mlratchet.models.workloads.told import ToldWorkload

logger = logging.getLogger(__name__)
WRITERS = 8  # threads


class EmptyDatasetError(DataError):
    """Nothing of a delivery can be used; `rejects` say why."""

    def __init__(self, prefix: str, rejects: list[Reject]) -> None:
        example = f"; the first: {rejects[0].reason}" if rejects else ""
        lost = sum(one.records for one in rejects)
        super().__init__(f"{prefix}: empty dataset: 0 records can be used, {lost:,} set aside{example}")
        self.rejects = rejects


@dataclass(frozen=True, kw_only=True)
class FirstDelivery:
    """What was decided at a pipeline's first delivery and holds for every later one."""

    identity_columns: tuple[str, ...] = ()
    """Who a row without an id of its own is; without them every column says so."""
    number_marks: Mapping[str, Mark] = field(default_factory=dict)
    """Decimal mark by column; what is not in it, the delivery at hand tells."""
    time_formats: Mapping[str, str] = field(default_factory=dict)
    """Format of times by column, likewise."""

    def settings(self) -> dict[str, Any]:
        """As a workload finds them beside the options of its source."""
        columns = {"identity_columns": list(self.identity_columns)} if self.identity_columns else {}
        marks = {"number_marks": dict(self.number_marks)} if self.number_marks else {}
        return columns | marks | ({"time_formats": dict(self.time_formats)} if self.time_formats else {})


UNKNOWN = FirstDelivery()


def read_dataset_records(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    first: FirstDelivery = UNKNOWN,
    delivered: ObjectStore | None = None,
    rules: QualityConfig = AS_USUAL,
) -> tuple[list[Record], list[Reject]]:
    """Every record of the snapshot, and what had to be set aside with reasons; each is told once. `delivered`: the
    bucket that the snapshot was taken of, to mend copies from.

    Raises ``EmptyDatasetError`` when nothing can be used, ``DataError`` when the delivery as a whole cannot be read.
    """
    records: dict[str, Record] = {}
    rejects: list[Reject] = []
    for found in ruled(raw_records(store, snapshot, workload, source, first=first, delivered=delivered), rules):
        if isinstance(found, Reject):
            rejects.append(found)
        elif found.id in records:
            where, kept = found.where or found.id, records[found.id].where
            words = f"{where}: id {found.id!r} is there twice; the first{f' ({kept})' if kept else ''} is kept"
            rejects.append(Reject(where=where, code="duplicate_id", reason=words))
        else:
            records[found.id] = found
    if not records:
        raise EmptyDatasetError(source.prefix, rejects)
    return sorted(records.values(), key=lambda record: record.id), rejects


def raw_records(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    first: FirstDelivery = UNKNOWN,
    delivered: ObjectStore | None = None,
) -> Iterator[Record | Reject]:
    """As the workload reads the objects of a snapshot, in its order; a record that nobody can use is a reject.

    Raises ``DataError`` for whatever a reader raises: it says after which record; and as `raw_objects`.
    """
    fetch = raw_objects(store, snapshot, delivered)
    options = source.model_dump(mode="json") | first.settings()
    if isinstance(workload, ToldWorkload):  # guarded where it is read
        return workload.records(snapshot.raw_objects(), fetch, options)
    return guarded_records(workload, snapshot.raw_objects(), fetch, options)


def write_dataset(
    store: ObjectStore,
    snapshot: Snapshot,
    records: list[Record],
    code: Any,
    workload: WorkloadRef,
    data: DataConfig,
    source: SourceOptions,
    *,
    class_names: tuple[str, ...] = (),
    input_columns: tuple[str, ...] = (),
    tensors: tuple[TensorSpec, ...] = (),
    prepared: bool = False,
    first: FirstDelivery = UNKNOWN,
    sides: Sides | None = None,
) -> DatasetManifest:
    """Write shards, then the manifest by conditional create; an existing dataset is returned as it is, and what of it
    was changed or is gone is written again.

    `code` as for `dataset_parts`; `tensors`: of a workload that names its own; `prepared`: whether its rows are
    examples, which a preparation makes tensors of; `sides`: of the records, where that is known already. Raises
    ``DataError`` when a side is empty, and as `mend`.
    """
    identity = dataset_id(
        snapshot.id,
        code,
        workload,
        data,
        source,
        identity_columns=first.identity_columns,
        number_marks=first.number_marks,
        time_formats=first.time_formats,
    )
    sides = sides or sides_of(records, data.split)
    index = index_bytes(records, class_names, input_columns)
    if store.exists(f"datasets/{identity}.json"):
        found = load_dataset(store, identity)
        mend(store, found.raw if prepared else found, pieces_of(records, data, sides), index, tensors)
        if prepared:
            mend_preparation(store, workload, found)
        return found
    jobs = pieces_of(records, data, sides)
    counted: dict[str, int] = {side: sum(len(members) for s, members in jobs if s == side) for side in SIDES}
    for side, rows in counted.items():
        if not rows:
            raise DataError(
                f"{source.prefix}: the {side} side is empty with {len(records)} records; "
                "deliver more or enlarge data.split"
            )
    with ThreadPoolExecutor(WRITERS) as pool:
        refs = list(pool.map(lambda job: write_shard(store, job[1], tensors), jobs))
    splits: dict[str, tuple[ShardRef, ...]] = {
        side: tuple(ref for (s, _), ref in zip(jobs, refs, strict=True) if s == side) for side in SIDES
    }
    made = prepare_shards(store, workload, splits) if prepared else None
    index_sha256 = digest_bytes(index)
    store.create(f"indexes/{index_sha256}.json", index)
    counts = Counter(name for record in records for name in target_names(record.y, class_names))
    manifest = DatasetManifest(
        id=identity,
        snapshot_id=snapshot.id,
        splits=made.splits if made is not None else splits,
        examples=splits if made is not None else {},
        preparation_sha256=made.sha256 if made is not None else "",
        rows=counted,
        target_counts=dict(sorted(counts.items())),
        index_sha256=index_sha256,
        identity_columns=tuple(sorted({name for names in {r.row_columns for r in records} for name in names})),
        number_marks=dict(first.number_marks),
        time_formats=dict(first.time_formats),
    )
    store.create(f"datasets/{identity}.json", canonical_json(manifest.model_dump(mode="json")))
    return manifest


def pieces_of(records: list[Record], data: DataConfig, side_of_each: Sides) -> list[tuple[str, list[Record]]]:
    """The records of every shard, by side."""
    sides: dict[str, list[Record]] = {side: [] for side in SIDES}
    for record in records:
        side = side_of_each(record)
        if side is not None:
            sides[side].append(record)
    step = data.rows_per_shard
    return [(side, members[at : at + step]) for side, members in sides.items() for at in range(0, len(members), step)]


def mend(
    store: ObjectStore,
    manifest: DatasetManifest,
    pieces: list[tuple[str, list[Record]]],
    index: bytes,
    tensors: Sequence[TensorSpec] = (),
) -> None:
    """Write again what of a dataset was changed or is gone: its rows are at hand.

    Raises ``DigestMismatch`` or ``ObjectNotFound`` for what these records do not give.
    """
    members = {side: [rows for one, rows in pieces if one == side] for side in SIDES}
    shards = [
        (ref, rows) for side in SIDES for ref, rows in zip(manifest.splits.get(side, ()), members[side], strict=False)
    ]

    def check(one: tuple[ShardRef, list[Record]]) -> None:
        ref, rows = one
        if not is_whole(store, ref.key, ref.sha256) and write_shard(store, rows, tensors) != ref:
            store.get(ref.key, sha256=ref.sha256)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(check, shards))
    key = f"indexes/{manifest.index_sha256}.json"
    if manifest.index_sha256 == digest_bytes(index) and not is_whole(store, key, manifest.index_sha256):
        store.create(key, index)
