"""The test rows of a dataset, as any version takes them: each is asked through its own signature.

Columns that the rows do not hold are read from the same raw rows, which the snapshot of the dataset names.

Shape legend: N rows, F columns of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.data.dataset import DatasetManifest, load_dataset
from mlratchet.models.data.preprocess import read_dataset_records
from mlratchet.models.data.shards import load_split
from mlratchet.models.data.snapshot import load_snapshot
from mlratchet.models.errors import ConfigurationError, DataError
from mlratchet.models.evaluation.join import columns_for, join_outputs, lacking_columns, what_differs
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import UNREADABLE, mark_rows
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.pipeline.store import load_pipeline
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Split
from mlratchet.models.workloads.loading import load_workload
from mlratchet.tasks.support.open_version import Version

Array = np.ndarray[Any, Any]
NOTHING: Mapping[str, str] = {}


class Examples:
    """The test rows of one dataset. `layout` is what the pipeline of that dataset takes and gives."""

    def __init__(self, store: ObjectStore, spec: PipelineSpec, dataset: DatasetManifest, layout: Signature) -> None:
        self.store, self.spec, self.dataset, self.layout = store, spec, dataset, layout
        self._read: dict[tuple[str, ...], Mapping[str, Array]] = {}

    @cached_property
    def rows(self) -> Split:
        """As the dataset's own pipeline prepared them."""
        return load_split(self.store, self.dataset, "test")

    def inputs(self, version: Version) -> tuple[Array, set[str]]:
        """The rows as the version takes them, and the ids of those whose own columns cannot be read (zeros there).

        Raises ``ConfigurationError`` when no row can be brought to what it takes.
        """
        why = what_differs(self.layout, version.signature)
        if why:
            raise ConfigurationError(f"version {version.record.version} cannot be compared with: {why}")
        ours, theirs = self.layout.input, version.signature.input
        lacking = lacking_columns(ours, theirs)
        if not lacking:
            return columns_for(self.rows.x, ours, theirs), set()
        found = self._records(theirs.columns, lacking, version.record.version)
        blank = np.zeros(theirs.shape, dtype=theirs.dtype)
        x = np.stack([found.get(identity, blank) for identity in self.rows.ids])
        unreadable = {identity for identity in self.rows.ids if identity not in found}
        if len(unreadable) == len(self.rows.ids):
            raise ConfigurationError(
                f"version {version.record.version} takes {', '.join(lacking)}, which no test row of this delivery holds"
            )
        return x, unreadable

    def _records(self, columns: tuple[str, ...], lacking: tuple[str, ...], version: int) -> Mapping[str, Array]:
        """Id -> input, read with these columns from the raw rows of the snapshot."""
        if columns not in self._read:
            use, parameters = self.spec.workload.use, dict(self.spec.workload.parameters)
            try:
                reader = load_workload(use, parameters | {"columns": list(columns)})
                snapshot = load_snapshot(self.store, self.dataset.snapshot_id)
                records, _ = read_dataset_records(self.store, snapshot, reader, self.spec.source)
            except (ConfigurationError, DataError) as error:
                words = f"version {version} takes {', '.join(lacking)}, which this delivery does not give: {error}"
                raise ConfigurationError(words[:400]) from error
            self._read[columns] = {record.id: record.x for record in records}
        return self._read[columns]

    def score(self, version: Version, left_out: Mapping[str, str] = NOTHING) -> RowOutputs:
        """The version's outputs for every row, by our names. Rows that it cannot be asked about are marked, and those
        that are `left_out` of a comparison with it: id -> reason.

        Raises ``ConfigurationError`` when it cannot be compared with; the message says what differs.
        """
        x, unreadable = self.inputs(version)
        asked = Split(ids=self.rows.ids, x=x, y=self.rows.y, columns=self.rows.columns, dataset_id=self.rows.dataset_id)
        try:
            outputs = join_outputs(score(version.program, asked), self.layout, version.signature)
        except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
            words = f"it cannot score rows of shape {list(x.shape[1:])}: {type(error).__name__}: {error}"
            raise ConfigurationError(words[:300]) from error
        return mark_rows(outputs, dict.fromkeys(unreadable, UNREADABLE) | dict(left_out))


def examples_of(store: ObjectStore, version: Version) -> Examples:
    """The test rows that a version was judged on. Raises ``ConfigurationError`` when its pipeline file is gone."""
    record = version.record
    return Examples(
        store, load_pipeline(store, record.revision), load_dataset(store, record.dataset_id), version.signature
    )
