"""The test rows of a dataset, as any version takes them: each is asked through its own signature.

Columns that the rows do not hold are read from the same raw rows, which the snapshot of the dataset names.

Shape legend: N rows, F columns of a table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.prepared_shards import instances_of_side
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.records_by_id import RecordsById, inputs_by_id
from mlratchet.models.data.row_index import Entry, RowIndex, entry_of, load_index, redelivered, with_inputs
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.join import columns_for, join_outputs, read_for, what_differs
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import CHANGED, UNREADABLE, mark_rows
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import ExampleSpec, Record, Split, inputs_of
from mlratchet.models.sources.stored_examples import UNPREPARED
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.sharded import changed
from mlratchet.models.workloads.base import Workload
from mlratchet.models.workloads.cold_start import with_cold_start
from mlratchet.models.workloads.loading import load_workload
from mlratchet.models.workloads.prepared import prepare_away
from mlratchet.tasks.support.open_version import Version

NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Taken:
    """The rows as one version takes them."""

    x: Inputs
    unreadable: set[str]  # ids of rows whose own columns it cannot read; zeros in `x`
    entries: Mapping[str, Entry]  # what was delivered of them, in the version's columns


class Examples:
    """The test rows of one dataset. `layout` is what the pipeline of that dataset takes and gives."""

    def __init__(self, store: ObjectStore, spec: PipelineSpec, dataset: DatasetManifest, layout: Signature) -> None:
        self.store, self.spec, self.dataset, self.layout = store, spec, dataset, layout
        self._read: dict[tuple[str, ...], tuple[RecordsById[Record], Workload]] = {}

    @cached_property
    def rows(self) -> Split:
        """As the dataset's own pipeline prepared them."""
        return with_cold_start(load_split(self.store, self.dataset, "test"), self.layout.input.example)

    @cached_property
    def examples(self) -> Split:
        """As clients would send them, of a pipeline with a schema."""
        return load_split(self.store, self.dataset.raw, "test")

    def instances(self, count: int) -> list[Any] | None:
        """The first rows as a request holds them; None where that are the rows themselves."""
        return instances_of_side(self.store, self.dataset, "test", count)

    @cached_property
    def index(self) -> RowIndex:
        """What was delivered of every record."""
        found = load_index(self.store, self.dataset, self.layout.classes)
        return with_inputs(self.store, self.dataset, found, self.rows.ids, self.layout.input) if found.legacy else found

    def refuse_other_kind(self, version: Version) -> None:
        """Raises ``ConfigurationError`` for a version of another task or kind of input; the message says what differs.
        Nothing is read."""
        why = what_differs(self.layout, version.signature)
        if why:
            raise ConfigurationError(f"version {version.record.version} cannot be compared with: {why}")

    def take(self, version: Version) -> Taken:
        """The rows as the version takes them.

        Raises ``ConfigurationError`` when no row can be brought to what it takes; the message says what differs.
        """
        self.refuse_other_kind(version)
        number = version.record.version
        ours, theirs = self.layout.input, version.signature.input
        if theirs.example is not None:
            return self._prepared_by(theirs.example, number)
        if set(ours.columns) == set(theirs.columns):
            return Taken(x=columns_for(self.rows.x, ours, theirs), unreadable=set(), entries=self.index.entries)
        found = self._records(theirs.columns, number)
        unreadable = {identity for identity in self.rows.ids if identity not in found}
        if len(unreadable) == len(self.rows.ids):
            raise ConfigurationError(
                f"version {number} takes {', '.join(theirs.columns)}, which no test row of this delivery holds"
            )
        x = inputs_by_id(found, self.rows.ids, inputs_of)
        return Taken(x=x, unreadable=unreadable, entries=self._entries(found, theirs.columns))

    def _entries(self, found: RecordsById[Record], columns: tuple[str, ...]) -> Mapping[str, Entry]:
        classes = self.layout.classes
        return RecordsById(found.records, lambda record: entry_of(record, classes, columns))

    def _prepared_by(self, theirs: ExampleSpec, version: int) -> Taken:
        """The same raw rows by the schema and the preparation of the version."""
        ours = self.layout.input.example
        if ours == theirs:
            return Taken(x=self.rows.x, unreadable=set(), entries=self.index.entries)
        asked = Schema.model_validate_json(theirs.schema)
        here = Schema.model_validate_json(ours.schema) if ours is not None else None
        asked = read_for(asked, here) if here is not None else asked
        if here is not None and asked.inputs == here.inputs and asked.missing == here.missing:
            x, unreadable = changed(self.examples.x, lambda _, rows: prepare_away(theirs, rows)), set[str]()
            return Taken(x=x, unreadable=unreadable, entries=self.index.entries)
        changes = {"schema": asked.model_dump(mode="json"), "preparation": json.loads(theirs.preparation)}
        found, _ = self._read_with((theirs.schema,), changes, f"version {version} takes examples of another schema")
        unreadable = {identity for identity in self.rows.ids if identity not in found}
        if len(unreadable) == len(self.rows.ids):
            raise ConfigurationError(f"version {version} takes examples of another schema, which no test row holds")
        rows = inputs_by_id(found, self.rows.ids, lambda records: inputs_of(records, (UNPREPARED,)))
        x = changed(rows, lambda _, some: prepare_away(theirs, some))
        return Taken(x=x, unreadable=unreadable, entries=self._entries(found, ()))

    def _records(self, columns: tuple[str, ...], version: int) -> RecordsById[Record]:
        """By id, read with these columns from the raw rows of the snapshot."""
        lacking = ", ".join(name for name in columns if name not in self.layout.input.columns)
        found, reader = self._read_with(columns, {"columns": list(columns)}, f"version {version} takes {lacking}")
        read = reader.input_spec().columns
        if read != columns:  # else the version would be asked with other columns in the places of its own
            words = f"{self.spec.workload.use} reads {', '.join(read)}, whatever its parameter columns says"
            raise ConfigurationError(f"version {version} takes {lacking}, which this delivery does not give: {words}")
        return found

    def _read_with(
        self, key: tuple[str, ...], changes: Mapping[str, Any], takes: str
    ) -> tuple[RecordsById[Record], Workload]:
        """Records by id as the workload reads them with other parameters, each kind once; and that workload."""
        if key not in self._read:
            use, parameters = self.spec.workload.use, dict(self.spec.workload.parameters)
            try:
                reader = load_workload(use, {**parameters, **changes})
                snapshot = load_snapshot(self.store, self.dataset.snapshot_id)
                first = FirstDelivery(
                    identity_columns=self.dataset.identity_columns,
                    number_marks=self.dataset.number_marks,
                    time_formats=self.dataset.time_formats,
                )
                records, _ = read_dataset_records(self.store, snapshot, reader, self.spec.source, first=first)
            except (ConfigurationError, DataError) as error:
                words = f"{takes}, which this delivery does not give: {error}"
                raise ConfigurationError(words[:400]) from error
            self._read[key] = RecordsById(records, lambda record: record), reader
        return self._read[key]

    def delivered_otherwise(self, version: Version, taken: Taken) -> set[str]:
        """Ids of test rows whose raw cells were others, in the version's columns, when it was trained or judged.

        Raises ``ConfigurationError`` when equal raw cells prepare to other inputs now: the version would be asked about
        inputs that it never saw the like of, and no number of it says anything.
        """
        record = version.record
        if record.dataset_id == self.dataset.id:
            return set()
        try:
            then = load_dataset(self.store, record.dataset_id)
            before = load_index(self.store, then, version.signature.classes)
        except ObjectNotFound as error:
            words = f"version {record.version}: what it was trained on is gone, so nobody knows whether it is the same"
            raise ConfigurationError(f"{words}: {error}") from error
        if before.legacy:
            shared = [i for i in self.rows.ids if i in before.entries and i in taken.entries]
            before = with_inputs(self.store, then, before, shared, version.signature.input) if shared else before
        found = redelivered(self.rows.ids, taken.entries, before.entries)
        if found.prepared_otherwise:
            named = ", ".join(sorted(found.prepared_otherwise)[:3])
            raise ConfigurationError(
                f"version {record.version}: {len(found.prepared_otherwise)} rows prepare to other inputs than when it "
                f"was trained ({named}), and their raw cells {found.why}: the preparation changed, so nothing can be "
                "compared; keep what it is fitted on fixed"
            )
        return found.changed

    def score(self, version: Version, left_out: Mapping[str, str] = NOTHING) -> RowOutputs:
        """The version's outputs for every row, by our names. Rows that it cannot be asked about are marked, and those
        that are `left_out` of a comparison with it: id -> reason.

        Raises ``ConfigurationError`` when it cannot be compared with; the message says what differs.
        """
        taken = self.take(version)
        changed = self.delivered_otherwise(version, taken)
        x = taken.x
        asked = Split(ids=self.rows.ids, x=x, y=self.rows.y, columns=self.rows.columns, dataset_id=self.rows.dataset_id)
        try:
            outputs = join_outputs(score(version.program, asked), self.layout, version.signature)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            shape = list(x.array.shape[1:]) if x.is_one else ", ".join(map(str, x.specs))
            words = f"it cannot score rows of shape {shape}: {type(error).__name__}: {error}"
            raise ConfigurationError(words[:300]) from error
        marks = dict.fromkeys(taken.unreadable, UNREADABLE) | dict.fromkeys(changed, CHANGED)
        return mark_rows(outputs, marks | dict(left_out))


def examples_of(store: ObjectStore, version: Version) -> Examples:
    """The test rows that a version was judged on. Raises ``ConfigurationError`` when its pipeline file is gone."""
    record = version.record
    return Examples(
        store, load_pipeline(store, record.revision), load_dataset(store, record.dataset_id), version.signature
    )
