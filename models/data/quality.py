"""Measures of a delivery, for the data gate. Each says over how many records it was taken."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.reading import reading_of
from mlratchet.models.data.row_index import (
    Entry,
    Label,
    RowIndex,
    digest_of_input,
    label_of,
    load_index,
    prepared_digest,
)
from mlratchet.models.data.split import side_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record, Reject, arrays_of, target_names

MEASURES = {
    "rows": "records that can be used (count)",
    "rejected_fraction": "records set aside, of all (0..1)",
    "duplicate_fraction": "records whose content another record has too, of all (0..1)",
    "conflicting_label_fraction": "records whose content has another label elsewhere, of all (0..1)",
    "cross_split_duplicate_fraction": "test records whose content is also trained on, of all test records (0..1)",
    "relabelled_fraction": "records shared with the champion's dataset by content whose label differs (0..1)",
    "volume_ratio": "records now / records in the champion's dataset",
    "class_count": "classes that have at least one record (count)",
    "smallest_class_rows": "records of the rarest class that occurs (count)",
    "label_prior_shift": "total variation distance of the class shares to the champion's dataset; of a multi-label "
    "the largest change of a label's share (0..1)",
    "constant_input_fraction": "records whose input values are all equal, of all (0..1)",
    "non_finite_fraction": "records with NaN or infinity in the input, of all (0..1)",
}
SHARE = "(0..1)"  # how `MEASURES` says that a measure is a share; anything else is 0 or more


def range_of(measure: str, class_count: int) -> tuple[float, float]:
    """The smallest and the largest value that a measure can take."""
    if measure == "class_count":
        return 0.0, float(class_count)
    return 0.0, 1.0 if MEASURES[measure].endswith(SHARE) else float("inf")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured value."""

    value: float
    n: int  # records it was taken over; 0: there was nothing to measure against
    detail: str = ""  # examples, for the reason a gate prints


@dataclass(frozen=True, kw_only=True)
class Names:
    """Of classes or labels by number, and of the input's columns."""

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """All measures of a delivery."""

    measures: dict[str, Measure]


def inspect(
    store: ObjectStore,
    records: Collection[Record],
    rejects: list[Reject],
    previous: DatasetManifest | None,
    data: DataConfig,
    class_names: tuple[str, ...],
    *,
    columns: tuple[str, ...] = (),
    before: Names | None = None,
) -> QualityReport:
    """Measure the records; measures against `previous` are left out with n = 0 and value 0 when it is None.

    `columns` are those of the input; `before` are the names of classes and columns that the dataset `previous` was made
    with, where they are others than now.
    """
    ours = Names(classes=class_names, columns=columns)
    theirs = before or ours
    reading = reading_of(records, rejects)
    total = reading.read
    aside = f"{reading.rules_met()}; e.g. {reading.example}" if rejects else ""
    measures = {
        "rows": Measure(value=float(len(records)), n=len(records)),
        "rejected_fraction": Measure(value=reading.set_aside / total if total else 0.0, n=total, detail=aside),
        **_duplicates(records, data),
        **_inputs(records),
        **_against(store, records, previous, ours, theirs),
    }
    if class_names:
        measures |= _classes(records, previous, ours, theirs)
    return QualityReport(measures=measures)


def _duplicates(records: Collection[Record], data: DataConfig) -> dict[str, Measure]:
    by_content: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_content[record.content_sha256].append(record)
    n = len(records)
    repeated = sum(len(same) for same in by_content.values() if len(same) > 1)
    conflicts = [same for same in by_content.values() if len({record.y for record in same}) > 1]
    sides = {record.id: side_of(record.group or record.id, data.split) for record in records}
    test = [record for record in records if sides[record.id] == "test"]
    leaked = [r for r in test if any(sides[other.id] == "train" for other in by_content[r.content_sha256])]
    return {
        "duplicate_fraction": Measure(value=repeated / n, n=n),
        "conflicting_label_fraction": Measure(
            value=sum(map(len, conflicts)) / n,
            n=n,
            detail=f"e.g. {', '.join(record.id for record in conflicts[0][:3])}" if conflicts else "",
        ),
        "cross_split_duplicate_fraction": Measure(
            value=len(leaked) / len(test) if test else 0.0,
            n=len(test),
            detail=f"e.g. {leaked[0].id}" if leaked else "",
        ),
    }


def _inputs(records: Collection[Record]) -> dict[str, Measure]:
    n = len(records)
    constant = [r.id for r in records if _is_constant(arrays_of(r.x))]
    broken = [r.id for r in records if not all(_is_finite(one) for one in arrays_of(r.x))]
    return {
        "constant_input_fraction": Measure(
            value=len(constant) / n, n=n, detail=f"e.g. {constant[0]}" if constant else ""
        ),
        "non_finite_fraction": Measure(value=len(broken) / n, n=n, detail=f"e.g. {broken[0]}" if broken else ""),
    }


def _is_constant(arrays: list[np.ndarray[Any, Any]]) -> bool:
    """Of several tensors, each that has more than one value is constant, and there is one."""
    several = [one for one in arrays if one.size > 1]
    return bool(several) and all(one.min() == one.max() for one in several)


def _is_finite(one: np.ndarray[Any, Any]) -> bool:
    return not np.issubdtype(one.dtype, np.floating) or bool(np.isfinite(one).all())


def _against(
    store: ObjectStore, records: Collection[Record], previous: DatasetManifest | None, ours: Names, theirs: Names
) -> dict[str, Measure]:
    if previous is None:
        nothing = "there is no champion to compare with"
        return {
            "relabelled_fraction": Measure(value=0.0, n=0, detail=nothing),
            "volume_ratio": Measure(value=1.0, n=0, detail=nothing),
        }
    index = load_index(store, previous, theirs.classes)
    both = [name for name in ours.classes if name in theirs.classes]
    by_content = {entry.raw: entry for entry in index.entries.values()} if index.legacy else {}
    shared, changed = 0, []
    for record in records:
        entry = index.entries.get(record.id) or _named_by_content(record, by_content, ours, theirs)
        if entry is not None and _same_content(record, entry, index, previous, ours, theirs):
            shared += 1
            if not _same_label(label_of(record.y, ours.classes), entry.label, both):
                changed.append(record.id)
    before = sum(previous.rows.values())
    return {
        "relabelled_fraction": Measure(
            value=len(changed) / shared if shared else 0.0,
            n=shared,
            detail=f"e.g. {', '.join(changed[:3])}" if changed else "",
        ),
        "volume_ratio": Measure(value=len(records) / before, n=len(records), detail=f"{before} records before"),
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


def _classes(
    records: Collection[Record], previous: DatasetManifest | None, ours: Names, theirs: Names
) -> dict[str, Measure]:
    class_names = ours.classes
    counts = Counter(name for record in records for name in target_names(record.y, class_names))
    n = len(records)
    shift = 0.0
    if previous is not None and previous.target_counts:
        shift = prior_shift(counts, previous, n, ours, theirs, exclusive=not isinstance(next(iter(records)).y, tuple))
    rarest = min(counts, key=lambda name: counts[name], default="")
    return {
        "class_count": Measure(value=float(len(counts)), n=n),
        "smallest_class_rows": Measure(value=float(counts[rarest]), n=n, detail=f"class {rarest}" if rarest else ""),
        "label_prior_shift": Measure(value=shift, n=n if previous else 0, detail=_alone(ours, theirs)),
    }


def prior_shift(
    counts: Mapping[str, int], previous: DatasetManifest, n: int, ours: Names, theirs: Names, *, exclusive: bool
) -> float:
    """How far the shares of the names that both know moved; of classes that exclude each other, among those."""
    both = [name for name in ours.classes if name in theirs.classes]
    before = previous.target_counts
    now_n, then_n = n, sum(previous.rows.values())
    if exclusive:
        now_n, then_n = sum(counts.get(name, 0) for name in both), sum(before.get(name, 0) for name in both)
    if not now_n or not then_n:
        return float("nan")
    moved = [abs(counts.get(name, 0) / now_n - before.get(name, 0) / then_n) for name in both]
    return 0.5 * sum(moved) if exclusive else max(moved)


def _alone(ours: Names, theirs: Names) -> str:
    """Names that only one of the two deliveries has."""
    new = [name for name in ours.classes if name not in theirs.classes]
    gone = [name for name in theirs.classes if name not in ours.classes]
    parts = [f"new: {', '.join(new)}"] * bool(new) + [f"gone: {', '.join(gone)}"] * bool(gone)
    return "; ".join(parts)
