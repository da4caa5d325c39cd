"""Measures of a delivery, for the data gate. Each says over how many records it was taken."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass

import numpy as np
from mlratchet.models.data.config import DataConfig
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.split import side_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.sources.record import Record, Reject, target_names

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


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measured value."""

    value: float
    n: int  # records it was taken over; 0: there was nothing to measure against
    detail: str = ""  # examples, for the reason a gate prints


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """All measures of a delivery."""

    measures: dict[str, Measure]


def inspect(
    store: ObjectStore,
    records: list[Record],
    rejects: list[Reject],
    previous: DatasetManifest | None,
    data: DataConfig,
    class_names: tuple[str, ...],
) -> QualityReport:
    """Measure the records; measures against `previous` are left out with n = 0 and value 0 when it is None."""
    total = len(records) + len(rejects)
    first = f"e.g. {rejects[0].reason}" if rejects else ""
    measures = {
        "rows": Measure(value=float(len(records)), n=len(records)),
        "rejected_fraction": Measure(value=len(rejects) / total if total else 0.0, n=total, detail=first),
        **_duplicates(records, data),
        **_inputs(records),
        **_against(store, records, previous),
    }
    if class_names:
        measures |= _classes(records, previous, class_names)
    return QualityReport(measures=measures)


def _duplicates(records: list[Record], data: DataConfig) -> dict[str, Measure]:
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


def _inputs(records: list[Record]) -> dict[str, Measure]:
    n = len(records)
    constant = [r.id for r in records if r.x.size > 1 and r.x.min() == r.x.max()]
    broken = [r.id for r in records if np.issubdtype(r.x.dtype, np.floating) and not np.isfinite(r.x).all()]
    return {
        "constant_input_fraction": Measure(
            value=len(constant) / n, n=n, detail=f"e.g. {constant[0]}" if constant else ""
        ),
        "non_finite_fraction": Measure(value=len(broken) / n, n=n, detail=f"e.g. {broken[0]}" if broken else ""),
    }


def _against(store: ObjectStore, records: list[Record], previous: DatasetManifest | None) -> dict[str, Measure]:
    if previous is None:
        nothing = "there is no champion to compare with"
        return {
            "relabelled_fraction": Measure(value=0.0, n=0, detail=nothing),
            "volume_ratio": Measure(value=1.0, n=0, detail=nothing),
        }
    index = json.loads(store.get(f"indexes/{previous.index_sha256}.json", sha256=previous.index_sha256))
    shared = [r for r in records if r.id in index and index[r.id][0] == r.content_sha256]
    changed = [r.id for r in shared if index[r.id][1] != (list(r.y) if isinstance(r.y, tuple) else r.y)]
    before = sum(previous.rows.values())
    return {
        "relabelled_fraction": Measure(
            value=len(changed) / len(shared) if shared else 0.0,
            n=len(shared),
            detail=f"e.g. {', '.join(changed[:3])}" if changed else "",
        ),
        "volume_ratio": Measure(value=len(records) / before, n=len(records), detail=f"{before} records before"),
    }


def _classes(
    records: list[Record], previous: DatasetManifest | None, class_names: tuple[str, ...]
) -> dict[str, Measure]:
    counts = Counter(name for record in records for name in target_names(record.y, class_names))
    n = len(records)
    shift = 0.0
    if previous is not None and previous.target_counts:
        before = sum(previous.rows.values())
        names = set(counts) | set(previous.target_counts)
        moved = [abs(counts[name] / n - previous.target_counts.get(name, 0) / before) for name in names]
        shift = max(moved) if isinstance(records[0].y, tuple) else 0.5 * sum(moved)
    rarest = min(counts, key=lambda name: counts[name], default="")
    return {
        "class_count": Measure(value=float(len(counts)), n=n),
        "smallest_class_rows": Measure(value=float(counts[rarest]), n=n, detail=f"class {rarest}" if rarest else ""),
        "label_prior_shift": Measure(value=shift, n=n if previous else 0),
    }
