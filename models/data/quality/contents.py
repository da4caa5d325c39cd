"""Which records have the same content or nearly the same: within the delivery, with another label, on the other side.

Shape legend: N records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.config import NearDuplicates
from mlratchet.models.data.near_duplicates import content_of, numbered
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.data.records import Records
from mlratchet.models.data.split import SIDES, Numbers
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record_table import targets_in, unpacked_records

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 3
TRAIN, TEST = SIDES.index("train"), SIDES.index("test")
Array = np.ndarray[Any, Any]


class Contents:
    """Digests of contents and labels: 17 bytes a record."""

    def __init__(self) -> None:
        self._content: list[Array] = []
        self._label: list[Array] = []
        self._side: list[Numbers] = []

    def add(self, table: pa.Table, sides_N: Numbers) -> None:
        """The next records."""
        told = table["content_sha256"].to_pylist()
        content = np.fromiter(map(hash, told), np.int64, len(told))
        if not all(told):  # a workload that tells none: by the input
            untold = np.flatnonzero(np.asarray([not one for one in told]))
            inputs = unpacked_records(table.take(untold))
            content[untold] = np.fromiter((hash(content_of(one).equal) for one in inputs), np.int64, len(untold))
        self._content.append(content)
        self._label.append(_labels(targets_in(table)))
        self._side.append(sides_N)

    @property
    def sides(self) -> Array:
        """Numbers in `SIDES` (N,)."""
        return _joined(self._side, np.uint8)

    @property
    def trained(self) -> int:
        """Records on the side that trains."""
        return sum(int((one == TRAIN).sum()) for one in self._side)

    @property
    def labels(self) -> Array:
        """A number per label (N,)."""
        return _joined(self._label, np.int64)

    def measures(self, records: Records) -> dict[str, Measure]:
        """`records` are those that were added: examples are named by id."""
        content, labels = _joined(self._content, np.int64), self.labels
        n = len(content)
        if not n:
            return {}
        which, counts = np.unique(content, return_inverse=True, return_counts=True)[1:]
        least, most = np.full(len(counts), 2**63 - 1), np.full(len(counts), -(2**63))
        np.minimum.at(least, which, labels)
        np.maximum.at(most, which, labels)
        conflicts = (least != most)[which]
        leaked, of = across(which, self.sides)
        shown = {
            name: f"e.g. {', '.join(ids)}" if ids else ""
            for name, ids in (
                ("conflicts", records.ids_at(_one_group(which, conflicts))),
                ("leaked", records.ids_at(leaked[:1])),
            )
        }
        return {
            "duplicate_fraction": Measure(value=share(int(counts[counts > 1].sum()), n), n=n),
            "conflicting_label_fraction": Measure(value=share(int(conflicts.sum()), n), n=n, detail=shown["conflicts"]),
            "cross_split_duplicate_fraction": Measure(value=share(len(leaked), of), n=of, detail=shown["leaked"]),
        }

    def near(self, records: Records, config: NearDuplicates, schema: Schema | None) -> dict[str, Measure]:
        """Two more readings of the records."""
        which = numbered(records, config, schema)
        sizes = np.bincount(which)
        alike = sizes[which] > 1
        leaked, of = across(which, self.sides)
        largest = np.flatnonzero(which == int(sizes.argmax()))[:EXAMPLES].tolist()
        group = f"largest: {int(sizes.max())} records, e.g. {', '.join(records.ids_at(largest))}"
        example = records.ids_at(leaked[:1])
        return {
            "near_duplicate_fraction": Measure(
                value=share(int(alike.sum()), len(which)), n=len(which), detail=group if alike.any() else ""
            ),
            "cross_split_near_duplicate_fraction": Measure(
                value=share(len(leaked), of), n=of, detail=f"e.g. {example[0]}" if example else ""
            ),
        }


def across(which: Array, sides: Array) -> tuple[Array, int]:
    """Places of test records whose group `which` (N,) has a record that is trained on, and how many are tested."""
    trained = np.zeros(int(which.max(initial=0)) + 1, dtype=bool)
    trained[which[sides == TRAIN]] = True
    tested = np.flatnonzero(sides == TEST)
    return tested[trained[which[tested]]], len(tested)


def _one_group(which: Array, chosen: Array) -> Sequence[int]:
    """The first places of the first group that has one."""
    first = np.flatnonzero(chosen)
    return [] if not len(first) else np.flatnonzero(which == which[first[0]])[:EXAMPLES].tolist()


def _labels(targets: Array) -> Array:
    """A number for each."""
    if targets.ndim == 1 and targets.dtype == np.int64:
        return targets
    told = map(tuple, targets.reshape(len(targets), -1).tolist()) if targets.ndim > 1 else targets.tolist()
    return np.fromiter(map(hash, told), np.int64, len(targets))


def _joined(parts: Sequence[Array], dtype: type) -> Array:
    return np.concatenate(parts) if parts else np.empty(0, dtype)
