"""Preprocess: the records of a snapshot become the shards of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest, dataset_id, load_dataset
from mlratchet.models.data.row_index import index_bytes
from mlratchet.models.data.shards import write_shard
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.data.split import SIDES, side_of
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.numbers import Mark
from mlratchet.models.sources.record import RawObject, Record, Reject, target_names
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.guarded import guarded_records
from mlratchet.models.workloads.told import ToldWorkload

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

    def settings(self) -> dict[str, Any]:
        """As a workload finds them beside the options of its source."""
        columns = {"identity_columns": list(self.identity_columns)} if self.identity_columns else {}
        return columns | ({"number_marks": dict(self.number_marks)} if self.number_marks else {})


UNKNOWN = FirstDelivery()


def read_dataset_records(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    first: FirstDelivery = UNKNOWN,
) -> tuple[list[Record], list[Reject]]:
    """Every record of the snapshot, and what had to be set aside with reasons; each is told once.

    Raises ``EmptyDatasetError`` when nothing can be used, ``DataError`` when the delivery as a whole cannot be read.
    """
    records: dict[str, Record] = {}
    rejects: list[Reject] = []
    for found in raw_records(store, snapshot, workload, source, first=first):
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
) -> Iterator[Record | Reject]:
    """As the workload reads the objects of a snapshot, in its order; a record that nobody can use is a reject.

    Raises ``DataError`` for whatever a reader raises: it says after which record.
    """

    def fetch(item: RawObject) -> bytes:
        return store.get(f"raw/{item.sha256}", sha256=item.sha256)

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
    first: FirstDelivery = UNKNOWN,
) -> DatasetManifest:
    """Write shards, then the manifest by conditional create; an existing dataset is returned as it is.

    `code` as for `dataset_parts`; `tensors`: of a workload that names its own. Raises ``DataError`` when a side is
    empty.
    """
    identity = dataset_id(
        snapshot.id,
        code,
        workload,
        data,
        source,
        identity_columns=first.identity_columns,
        number_marks=first.number_marks,
    )
    if store.exists(f"datasets/{identity}.json"):
        return load_dataset(store, identity)
    sides: dict[str, list[Record]] = {side: [] for side in SIDES}
    for record in records:
        sides[side_of(record.group or record.id, data.split)].append(record)
    for side, members in sides.items():
        if not members:
            raise DataError(
                f"{source.prefix}: the {side} side is empty with {len(records)} records; "
                "deliver more or enlarge data.split"
            )
    step = data.rows_per_shard
    jobs = [(side, members[at : at + step]) for side, members in sides.items() for at in range(0, len(members), step)]
    with ThreadPoolExecutor(WRITERS) as pool:
        refs = list(pool.map(lambda job: write_shard(store, job[1], tensors), jobs))
    index = index_bytes(records, class_names, input_columns)
    index_sha256 = digest_bytes(index)
    store.create(f"indexes/{index_sha256}.json", index)
    counts = Counter(name for record in records for name in target_names(record.y, class_names))
    manifest = DatasetManifest(
        id=identity,
        snapshot_id=snapshot.id,
        splits={side: tuple(ref for (s, _), ref in zip(jobs, refs, strict=True) if s == side) for side in SIDES},
        rows={side: len(members) for side, members in sides.items()},
        target_counts=dict(sorted(counts.items())),
        index_sha256=index_sha256,
        identity_columns=tuple(sorted({name for names in {r.row_columns for r in records} for name in names})),
        number_marks=dict(first.number_marks),
    )
    store.create(f"datasets/{identity}.json", canonical_json(manifest.model_dump(mode="json")))
    return manifest
