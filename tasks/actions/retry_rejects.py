"""Read again what a delivery lost: how many of those records would be used as the pipeline file is now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.data.first_columns import find_first_columns
from mlratchet.models.data.preprocess import FirstDelivery, raw_records
from mlratchet.models.data.quarantine import Quarantine
from mlratchet.models.data.rules import ruled
from mlratchet.models.data.snapshot import Snapshot, load_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.pipeline.loading import read_pipeline
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.schema.numbers import Mark
from mlratchet.models.sources.formats import format_read
from mlratchet.models.sources.record import Record, Reject, place_of
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.wiring import Adapters, deployed_revision

ALONE = ("csv", "parquet", "jsonl", "fasta", "ratings", "webdataset", "audio_folder", "image_folder")
"""Formats that read each object by itself: only those that lost something are read again."""
TWICE = "duplicate_id"  # known only beside all the other records


@dataclass(frozen=True, kw_only=True)
class Retried:
    """What became of the records that were set aside."""

    pipeline: str
    file: str  # by which it was read
    before: dict[str, int]  # records by rule
    used: int  # that would be used now
    still: dict[str, int] = field(default_factory=dict)  # by the rule that they break now
    objects: int  # that were read again

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "pipeline": self.pipeline, "file": self.file, "before": self.before, "used": self.used,
            "still": self.still, "objects": self.objects,
        }  # fmt: skip

    def lines(self) -> list[str]:
        """For people."""
        told = ", ".join(f"{n:,} {rule}" for rule, n in sorted(self.still.items())) or "nothing"
        asked, read = sum(self.before.values()), f"{self.objects:,} objects read again by {self.file}"
        lines = [
            f"{self.pipeline}: {asked:,} set aside; {read}: {self.used:,} would be used, still set aside: {told}",
        ]
        if self.used:
            lines.append(f"  `ratchet run {self.pipeline}` reads the delivery anew by that file and uses them")
        return lines


def retry_rejects(adapters: Adapters, pipeline: str, found: Quarantine, rule: str | None = None) -> Retried:
    """As the pipeline's file here says, or its deployment where there is no file. Publishes nothing.

    Raises ``DataError`` where the delivery was collected, or cannot be read as a whole.
    """
    spec, file = _spec(adapters, pipeline)
    try:
        snapshot = load_snapshot(adapters.store, str(found.about["snapshot"]))
    except ObjectNotFound as error:
        raise DataError(
            f"{pipeline}: snapshot {str(found.about['snapshot'])[:12]} of that delivery is gone (`ratchet gc`); "
            f"`ratchet run {pipeline}` reads what is there now"
        ) from error
    before: Counter[str] = Counter()
    rows: set[str] = set()
    whole: set[str] = set()  # files that were set aside with all their rows
    for one in found.rejects(rule):
        before[one["rule"]] += one["records"]
        if one["row"] is None or one["records"] > 1:
            whole.add(one["key"])
        else:
            rows.add(f"{one['key']}:{one['row']}")
    workload = load_workload(spec.workload.use, dict(spec.workload.parameters))
    keys = whole | {place_of(where)[0] for where in rows}
    part = snapshot if TWICE in before else _part(snapshot, keys, spec, workload)
    used, still = _sorted(_read(adapters, spec, workload, part), rows, whole)
    return Retried(pipeline=pipeline, file=file, before=dict(before), used=used, still=still, objects=len(part.objects))


def _spec(adapters: Adapters, pipeline: str) -> tuple[PipelineSpec, str]:
    path = adapters.settings.pipelines_dir / f"{pipeline}.yaml"
    if path.is_file():
        return read_pipeline(path), path.name
    try:
        return load_pipeline(adapters.store, deployed_revision(adapters, pipeline)), "its deployment"
    except ObjectNotFound as error:
        raise ConfigurationError(f"no file {path} and no deployment of {pipeline}; write the file") from error


def _part(snapshot: Snapshot, keys: set[str], spec: PipelineSpec, workload: Workload) -> Snapshot:
    """Of the objects alone that lost something, where each is read by itself."""
    if format_read(spec.source, workload.formats) not in ALONE:
        return snapshot
    return snapshot.model_copy(update={"objects": tuple(one for one in snapshot.objects if one.key in keys)})


def _read(adapters: Adapters, spec: PipelineSpec, workload: Workload, part: Snapshot) -> Iterator[Record | Reject]:
    delivered = adapters.bucket(spec.source.bucket) if spec.source.bucket else adapters.raw
    first = _first(adapters, spec.name)
    found = raw_records(adapters.store, part, workload, spec.source, first=first, delivered=delivered)
    return ruled(found, spec.quality)


def _first(adapters: Adapters, pipeline: str) -> FirstDelivery:
    """What was decided at the first delivery; nothing is decided here."""
    trusted, marks, number = adapters.keys.trusted(), dict[str, Mark](), 2
    found = find_first_columns(adapters.store, pipeline, trusted)
    if found is None:
        return FirstDelivery()
    marks |= found.number_marks
    while (more := find_first_columns(adapters.store, pipeline, trusted, number=number)) is not None:
        marks |= more.number_marks
        number += 1
    return FirstDelivery(identity_columns=found.columns, number_marks=marks)


def _sorted(found: Iterator[Record | Reject], rows: set[str], whole: set[str]) -> tuple[int, dict[str, int]]:
    """Of the records at these places: how many are used, and by which rule the others are not."""
    used, still, seen = 0, Counter[str](), set[int]()
    for one in found:
        where = one.where or (one.id if isinstance(one, Record) else "")
        asked = where in rows or place_of(where)[0] in whole or where in whole
        if isinstance(one, Reject):
            if asked:
                still[one.code] += one.records
            continue
        identity = hash(one.id)
        if identity in seen and asked:
            still[TWICE] += 1
        elif asked:
            used += 1
        seen.add(identity)
    return used, dict(still)
