"""The delivery against the champion's dataset, record by record: what was relabelled, and how much there is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.quality.measure import Measure, Names, share
from mlratchet.models.data.row_index import (
    Entry,
    Label,
    RowIndex,
    digest_of_input,
    label_of,
    load_index,
    prepared_digest,
)
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record

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

    def add(self, record: Record) -> None:
        """The next record."""
        self._n += 1
        if self._previous is None:
            return
        ours, theirs, index = self._ours, self._theirs, self._index
        entry = index.entries.get(record.id) or _named_by_content(record, self._by_content, ours, theirs)
        if entry is None or not _same_content(record, entry, index, self._previous, ours, theirs):
            return
        self._shared += 1
        if not _same_label(label_of(record.y, ours.classes), entry.label, self._both):
            self._changed += 1
            if len(self._examples) < 3:
                self._examples.append(record.id)

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
