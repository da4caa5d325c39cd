"""Preprocess: the records of a snapshot become the shards of a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from mlratchet.models.sources.record import RawObject, Record, Reject, target_names
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.told import ToldWorkload

WRITERS = 8  # threads


def read_dataset_records(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    identity_columns: tuple[str, ...] = (),
) -> tuple[list[Record], list[Reject]]:
    """Every record of the snapshot, and what had to be set aside with reasons.

    `identity_columns` are those of the pipeline's first delivery; without them every column says who a row is.
    Raises ``DataError`` when nothing can be used.
    """
    records: dict[str, Record] = {}
    rejects: list[Reject] = []
    objective, class_names = workload.objective, workload.class_names()
    refused_already = isinstance(workload, ToldWorkload)  # where it was read
    for found in raw_records(store, snapshot, workload, source, identity_columns=identity_columns):
        if isinstance(found, Reject):
            rejects.append(found)
        elif not refused_already and (problem := objective.refusal(found.y, class_names)) != "":
            rejects.append(Reject(where=found.id, code="bad_target", reason=f"{found.id}: target: {problem}"))
        elif found.id in records:
            rejects.append(
                Reject(
                    where=found.id,
                    code="duplicate_id",
                    reason=f"id {found.id!r} is there twice; the first is kept",
                )
            )
        else:
            records[found.id] = found
    if not records:
        example = f"; the first: {rejects[0].reason}" if rejects else ""
        raise DataError(f"{source.prefix}: empty dataset: 0 records can be used, {len(rejects)} set aside{example}")
    return sorted(records.values(), key=lambda record: record.id), rejects


def raw_records(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    identity_columns: tuple[str, ...] = (),
) -> Iterator[Record | Reject]:
    """As the workload reads the objects of a snapshot, in its order."""

    def fetch(item: RawObject) -> bytes:
        return store.get(f"raw/{item.sha256}", sha256=item.sha256)

    mapping = source.model_dump(mode="json") | (
        {"identity_columns": list(identity_columns)} if identity_columns else {}
    )
    return workload.records(snapshot.raw_objects(), fetch, mapping)


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
    identity_columns: tuple[str, ...] = (),
) -> DatasetManifest:
    """Write shards, then the manifest by conditional create; an existing dataset is returned as it is.

    `code` as for `dataset_parts`. Raises ``DataError`` when a side is empty.
    """
    identity = dataset_id(snapshot.id, code, workload, data, source, identity_columns=identity_columns)
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
        refs = list(pool.map(lambda job: write_shard(store, job[1]), jobs))
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
    )
    store.create(f"datasets/{identity}.json", canonical_json(manifest.model_dump(mode="json")))
    return manifest
