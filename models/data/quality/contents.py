"""Which records have the same content or nearly the same: within the delivery, with another label, on the other side.

Shape legend: N records.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mlratchet.models.data.config import NearDuplicates
from mlratchet.models.data.near_duplicates import content_of, numbered
from mlratchet.models.data.quality.measure import Measure, ids_at, share
from mlratchet.models.data.split import SIDES, Side
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record

EXAMPLES = 3
NUMBERS = {side: number for number, side in enumerate(SIDES)}
TRAIN, TEST = SIDES.index("train"), SIDES.index("test")
Array = np.ndarray[Any, Any]


class Contents:
    """Digests of contents and labels: 17 bytes a record."""

    def __init__(self) -> None:
        self._content, self._label, self._side = array("q"), array("q"), bytearray()

    def add(self, record: Record, side: Side) -> None:
        """The next record."""
        self._content.append(_content(record))
        self._label.append(hash(record.y))
        self._side.append(NUMBERS[side])

    @property
    def sides(self) -> Array:
        """Numbers in `SIDES` (N,)."""
        return np.frombuffer(bytes(self._side), dtype=np.uint8)

    @property
    def trained(self) -> int:
        """Records on the side that trains."""
        return self._side.count(TRAIN)

    @property
    def labels(self) -> Array:
        """A number per label (N,)."""
        return np.asarray(self._label)

    def measures(self, records: Iterable[Record]) -> dict[str, Measure]:
        """`records` are those that were added: examples are named by id."""
        n = len(self._content)
        if not n:
            return {}
        which, counts = np.unique(np.asarray(self._content), return_inverse=True, return_counts=True)[1:]
        labels = self.labels
        least, most = np.full(len(counts), 2**63 - 1), np.full(len(counts), -(2**63))
        np.minimum.at(least, which, labels)
        np.maximum.at(most, which, labels)
        conflicts = (least != most)[which]
        leaked, of = across(which, self.sides)
        shown = {
            name: f"e.g. {', '.join(ids)}" if ids else ""
            for name, ids in (
                ("conflicts", ids_at(records, _one_group(which, conflicts))),
                ("leaked", ids_at(records, leaked[:1])),
            )
        }
        return {
            "duplicate_fraction": Measure(value=share(int(counts[counts > 1].sum()), n), n=n),
            "conflicting_label_fraction": Measure(value=share(int(conflicts.sum()), n), n=n, detail=shown["conflicts"]),
            "cross_split_duplicate_fraction": Measure(value=share(len(leaked), of), n=of, detail=shown["leaked"]),
        }

    def near(self, records: Iterable[Record], config: NearDuplicates, schema: Schema | None) -> dict[str, Measure]:
        """Two more readings of the records."""
        which = numbered(records, config, schema)
        sizes = np.bincount(which)
        alike = sizes[which] > 1
        leaked, of = across(which, self.sides)
        largest = np.flatnonzero(which == int(sizes.argmax()))[:EXAMPLES].tolist()
        group = f"largest: {int(sizes.max())} records, e.g. {', '.join(ids_at(records, largest))}"
        example = ids_at(records, leaked[:1])
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


def _content(record: Record) -> int:
    """64 bits for the digest of its raw input, in this process; where a workload tells none, for its input."""
    return hash(record.content_sha256) if record.content_sha256 else hash(content_of(record).equal)
