"""The test rows of a dataset, as any version takes them: each is asked through its own signature.

Columns that the rows do not hold are read from the same raw rows, which the snapshot of the dataset names.

Shape legend: N rows, F columns of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import FirstDelivery, read_dataset_records
from mlratchet.models.data.row_index import Entry, RowIndex, entry_of, load_index, redelivered, with_inputs
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.join import columns_for, join_outputs, what_differs
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import CHANGED, UNREADABLE, mark_rows
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.sources.record import Record, Split
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import ONE
from mlratchet.models.workloads.loading import load_workload
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
        self._read: dict[tuple[str, ...], Mapping[str, Record]] = {}

    @cached_property
    def rows(self) -> Split:
        """As the dataset's own pipeline prepared them."""
        return load_split(self.store, self.dataset, "test")

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
        if set(ours.columns) == set(theirs.columns):
            return Taken(x=columns_for(self.rows.x, ours, theirs), unreadable=set(), entries=self.index.entries)
        found = self._records(theirs.columns, number)
        blank = np.zeros(theirs.shape, dtype=theirs.dtype)
        x = Inputs({ONE: np.stack([found[i].x if i in found else blank for i in self.rows.ids])})  # type: ignore[misc]  # a table's are arrays
        unreadable = {identity for identity in self.rows.ids if identity not in found}
        if len(unreadable) == len(self.rows.ids):
            raise ConfigurationError(
                f"version {number} takes {', '.join(theirs.columns)}, which no test row of this delivery holds"
            )
        here = (found[identity] for identity in self.rows.ids if identity in found)
        entries = {one.id: entry_of(one, self.layout.classes, theirs.columns) for one in here}
        return Taken(x=x, unreadable=unreadable, entries=entries)

    def _records(self, columns: tuple[str, ...], version: int) -> Mapping[str, Record]:
        """By id, read with these columns from the raw rows of the snapshot."""
        if columns not in self._read:
            use, parameters = self.spec.workload.use, dict(self.spec.workload.parameters)
            try:
                reader = load_workload(use, parameters | {"columns": list(columns)})
                read = reader.input_spec().columns
                if read != columns:  # else the version would be asked with other columns in the places of its own
                    raise ConfigurationError(f"{use} reads {', '.join(read)}, whatever its parameter columns says")
                snapshot = load_snapshot(self.store, self.dataset.snapshot_id)
                first = FirstDelivery(
                    identity_columns=self.dataset.identity_columns, number_marks=self.dataset.number_marks
                )
                records, _ = read_dataset_records(self.store, snapshot, reader, self.spec.source, first=first)
            except (ConfigurationError, DataError) as error:
                lacking = ", ".join(name for name in columns if name not in self.layout.input.columns)
                words = f"version {version} takes {lacking}, which this delivery does not give: {error}"
                raise ConfigurationError(words[:400]) from error
            self._read[columns] = {record.id: record for record in records}
        return self._read[columns]

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
        shared = [i for i in self.rows.ids if i in before.entries and i in taken.entries]
        if before.legacy and shared:
            before = with_inputs(self.store, then, before, shared, version.signature.input)
        found = redelivered({i: taken.entries[i] for i in shared}, before.entries)
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
