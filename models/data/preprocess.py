"""Preprocess: the records of a snapshot become the shards of a dataset."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest, dataset_id, load_dataset
from mlratchet.models.data.kept_pieces import KeptPieces, reading_groups
from mlratchet.models.data.logged_rows import marked
from mlratchet.models.data.prepared_shards import is_whole, mend_preparation, prepare_shards
from mlratchet.models.data.raw_objects import raw_objects
from mlratchet.models.data.record_shards import (
    HeldSides,
    identity_columns_of,
    rows_of_a_shard,
    target_counts,
    write_shards,
)
from mlratchet.models.data.records import Records, Sorter, records_of
from mlratchet.models.data.rejects import Rejects
from mlratchet.models.data.row_index import IndexDocument
from mlratchet.models.data.rules import AS_USUAL, QualityConfig, ruled_pieces
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.models.data.split import Sides, sides_of
from mlratchet.models.errors import DataError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.reading import one_ahead
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.base import SourceOptions
from mlratchet.models.sources.record import RawObject, Record, Reject
from mlratchet.models.sources.record_table import RecordPiece, read_one_by_one
from mlratchet.models.tensors.spec import TensorSpec
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.guarded import guarded_groups
from mlratchet.models.workloads.told import ToldWorkload

logger = logging.getLogger(__name__)


class EmptyDatasetError(DataError):
    """Nothing of a delivery can be used; `rejects` say why."""

    def __init__(self, prefix: str, rejects: Rejects) -> None:
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
    scratch: Path | None = None,
    kept: KeptPieces | None = None,
) -> tuple[Records, Rejects]:
    """Every record of the snapshot by id, and what had to be set aside with reasons; each is told once. `delivered`:
    the bucket that the snapshot was taken of, to mend copies from. `scratch`: a folder where many records lie. `kept`:
    what was read before, and what is kept of what is read now.

    Raises ``EmptyDatasetError`` when nothing can be used, ``DataError`` when the delivery as a whole cannot be read.
    """
    sorter = Sorter(scratch=scratch)
    pieces = raw_pieces(store, snapshot, workload, source, first=first, delivered=delivered, kept=kept)
    try:
        tensors = workload.input_spec().tensors
        for piece in ruled_pieces(one_ahead(pieces), rules, tensors):  # one is read while one is sorted
            sorter.add(marked(piece) if source.inference_log is not None else piece)
        records, rejects = sorter.sorted()
    except ValueError as error:  # what does not fit together shows where pieces are joined
        raise DataError(f"{source.prefix}: {error}") from error
    if not len(records):
        raise EmptyDatasetError(source.prefix, rejects)
    return records, rejects


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
    return read_one_by_one(raw_pieces(store, snapshot, workload, source, first=first, delivered=delivered))


def raw_pieces(
    store: ObjectStore,
    snapshot: Snapshot,
    workload: Workload,
    source: SourceOptions,
    *,
    first: FirstDelivery = UNKNOWN,
    delivered: ObjectStore | None = None,
    kept: KeptPieces | None = None,
) -> Iterator[RecordPiece]:
    """The same as tables of bounded size."""
    fetch, objects = raw_objects(store, snapshot, delivered), snapshot.raw_objects()
    options = source.model_dump(mode="json") | first.settings()

    def read(groups: Sequence[Sequence[RawObject]]) -> Iterator[tuple[int, RecordPiece]]:
        if isinstance(workload, ToldWorkload):  # guarded where it is read
            return workload.groups_of_pieces(groups, fetch, options)
        return guarded_groups(workload, groups, fetch, options)

    if kept is None or not workload.reads_objects_alone:
        return (piece for _, piece in read([objects]))
    return kept.pieces(workload, reading_groups(workload, objects, options), read)


def write_dataset(
    store: ObjectStore,
    snapshot: Snapshot,
    records: Records | Iterable[Record],
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
    before: DatasetManifest | None = None,
) -> DatasetManifest:
    """Write shards, then the manifest by conditional create; an existing dataset is returned as it is, and what of it
    was changed or is gone is written again.

    `code` as for `dataset_parts`; `tensors`: of a workload that names its own; `prepared`: whether its rows are
    examples, which a preparation makes tensors of; `sides`: of the records, where that is known already; `before`: a
    dataset of the same code, workload and options, whose tensors are used as far as they are the same. Raises
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
    held = records_of(records, tensors)
    with ThreadPoolExecutor(1) as beside:
        indexed = beside.submit(IndexDocument, held, class_names, input_columns)
        divided = HeldSides(held, sides or sides_of(held, data.split))
        index = indexed.result()
    if store.exists(f"datasets/{identity}.json"):
        found = load_dataset(store, identity)
        mend(store, found.raw if prepared else found, divided, index)
        if prepared:
            mend_preparation(store, workload, found)
        return found
    counted = divided.counts
    for side, rows in counted.items():
        if not rows:
            raise DataError(
                f"{source.prefix}: the {side} side is empty with {len(held)} records; "
                "deliver more or enlarge data.split"
            )
    rows = rows_of_a_shard(held, data)
    splits = write_shards(store, divided, lambda _side, _number: rows)
    made = prepare_shards(store, workload, splits, before) if prepared else None
    index.publish(store)
    manifest = DatasetManifest(
        id=identity,
        snapshot_id=snapshot.id,
        splits=made.splits if made is not None else splits,
        examples=splits if made is not None else {},
        preparation_sha256=made.sha256 if made is not None else "",
        rows=counted,
        logged_rows=divided.logged,
        target_counts=target_counts(held, class_names),
        index_sha256=index.sha256,
        identity_columns=identity_columns_of(held),
        number_marks=dict(first.number_marks),
        time_formats=dict(first.time_formats),
    )
    store.create(f"datasets/{identity}.json", canonical_json(manifest.model_dump(mode="json")))
    return manifest


def mend(
    store: ObjectStore,
    manifest: DatasetManifest,
    sides: HeldSides,
    index: IndexDocument,
) -> None:
    """Write again what of a dataset was changed or is gone: its rows are at hand.

    Raises ``DigestMismatch`` or ``ObjectNotFound`` for what these records do not give.
    """
    lost = {ref.key for refs in manifest.splits.values() for ref in refs if not is_whole(store, ref.key, ref.sha256)}
    if lost:
        sizes = {side: [ref.rows for ref in refs] for side, refs in manifest.splits.items()}
        rows = len(sides.records)
        write_shards(store, sides, lambda side, at: sizes[side][at] if at < len(sizes[side]) else rows)
        for refs in manifest.splits.values():
            for ref in refs:
                if ref.key in lost:
                    store.get(ref.key, sha256=ref.sha256)
    sha256 = index.sha256
    if manifest.index_sha256 == sha256 and not is_whole(store, f"indexes/{sha256}.json", sha256):
        index.publish(store)
