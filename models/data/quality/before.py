"""The delivery against the champion's dataset, record by record: what was relabelled, and how much there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.quality.measure import Measure, Names, share
from mlratchet.models.data.row_index import (
    Entry,
    Label,
    RowIndex,
    digest_of_input,
    label_of,
    labels_in,
    load_index,
    prepared_digest,
)
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record
from mlratchet.models.sources.record_table import held_in, unpacked_records

if TYPE_CHECKING:
    import pyarrow as pa

NOTHING = "there is no champion to compare with"


class Before:
    """Counts over the records; nothing without a dataset to compare with."""

    def __init__(self, store: ObjectStore, previous: DatasetManifest | None, ours: Names, theirs: Names) -> None:
        self._previous, self._ours, self._theirs = previous, ours, theirs
        self._index = load_index(store, previous, theirs.classes) if previous is not None else RowIndex(entries={})
        self._both = [name for name in ours.classes if name in theirs.classes]
        legacy = self._index.entries.values() if self._index.legacy else ()
        self._by_content = {entry.raw: entry for entry in legacy}
        self._n = self._shared = self._changed = 0
        self._examples: list[str] = []

    def add(self, table: pa.Table) -> None:
        """The next records."""
        self._n += table.num_rows
        if self._previous is None:
            return
        for identity, now, then in self._shared_labels(table):
            self._shared += 1
            if not _same_label(now, then, self._both):
                self._changed += 1
                if len(self._examples) < 3:
                    self._examples.append(identity)

    def _shared_labels(self, table: pa.Table) -> Iterator[tuple[str, Label, Label]]:
        """Of the records that were delivered with the same content before: id, label now and then."""
        assert self._previous is not None
        held, entries = held_in(table), self._index.entries
        named_alike = [names == self._previous.identity_columns for names in held.row_columns]
        if self._index.legacy or not all(named_alike) or "" in table["row_digest"].to_pylist():
            yield from self._one_by_one(table)
            return
        told = zip(
            table["id"].to_pylist(), table["row_digest"].to_pylist(), labels_in(table, self._ours.classes), strict=True
        )
        for identity, row, label in told:
            entry = entries.get(identity)
            if entry is not None and entry.row == row:  # also after another column was added to the inputs
                yield identity, label, entry.label

    def _one_by_one(self, table: pa.Table) -> Iterator[tuple[str, Label, Label]]:
        ours, theirs, index = self._ours, self._theirs, self._index
        assert self._previous is not None
        for record in unpacked_records(table):
            entry = index.entries.get(record.id) or _named_by_content(record, self._by_content, ours, theirs)
            if entry is not None and _same_content(record, entry, index, self._previous, ours, theirs):
                yield record.id, label_of(record.y, ours.classes), entry.label

    def measures(self) -> dict[str, Measure]:
        """Of all of them."""
        if self._previous is None:
            return {
                "relabelled_fraction": Measure(value=0.0, n=0, detail=NOTHING),
                "volume_ratio": Measure(value=1.0, n=0, detail=NOTHING),
            }
        before = sum(self._previous.rows.values())
        return {
            "relabelled_fraction": Measure(
                value=share(self._changed, self._shared),
                n=self._shared,
                detail=f"e.g. {', '.join(self._examples)}" if self._examples else "",
            ),
            "volume_ratio": Measure(value=self._n / before, n=self._n, detail=f"{before} records before"),
        }


def _contents_of_then(record: Record, ours: Names, theirs: Names) -> tuple[str, ...]:
    """Digests that a legacy index may hold of the record: of its input in the order of then."""
    if set(ours.columns) != set(theirs.columns):
        return ()
    x = record.x
    if theirs.columns and isinstance(x, np.ndarray):
        x = x[[ours.columns.index(name) for name in theirs.columns]]
    return record.content_sha256, digest_of_input(x)


def _named_by_content(record: Record, by_content: Mapping[str, Entry], ours: Names, theirs: Names) -> Entry | None:
    """Until rows were named by their raw cells they were named by their numbers: the same row has another id since."""
    found = (by_content.get(one) for one in _contents_of_then(record, ours, theirs)) if by_content else ()
    return next((entry for entry in found if entry is not None), None)


def _same_content(
    record: Record, entry: Entry, index: RowIndex, previous: DatasetManifest, ours: Names, theirs: Names
) -> bool:
    """Whether the record was delivered with the same content before, label aside, whatever the order of columns."""
    if index.legacy:
        return entry.raw in _contents_of_then(record, ours, theirs)
    if record.row_digest and record.row_columns == previous.identity_columns:
        return entry.row == record.row_digest  # also after another column was added to the inputs
    if record.raw_digest:
        return entry.raw == record.raw_digest
    return entry.prepared == prepared_digest(record, ours.columns)


def _same_label(now: Label, before: Label, both: list[str]) -> bool:
    """Of a multi-label: as far as both know the labels."""
    if isinstance(now, tuple) and isinstance(before, tuple):
        return set(now) & set(both) == set(before) & set(both)
    return now == before
