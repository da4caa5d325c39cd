"""Which records have the same content or nearly the same: within the delivery, with another label, on the other side.

Shape legend: N records, P records of one part.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

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
PART_RECORDS = 500_000  # of which equals are looked for at once: about 85 bytes each
HELD_BYTES = 2 << 20  # of a part that are not on disk yet, all parts together
FACTS = np.dtype([("content", np.int64), ("label", np.int64), ("place", np.int64), ("side", np.uint8)])
Array = np.ndarray[Any, Any]


class Contents:
    """Digests of contents and labels: 25 bytes a record, on disk in parts of which each has all that are equal."""

    def __init__(self, expected: int) -> None:
        """`expected`: about how many records are added."""
        parts = max(1, -(-expected // PART_RECORDS))
        self._parts = [tempfile.SpooledTemporaryFile(max_size=HELD_BYTES // parts) for _ in range(parts)]  # noqa: SIM115 - as long as this is
        self._count = self.trained = 0

    def add(self, table: pa.Table, sides_N: Numbers) -> None:
        """The next records."""
        told = table["content_sha256"].to_pylist()
        facts = np.empty(len(told), FACTS)
        content = np.fromiter(map(hash, told), np.int64, len(told))
        if not all(told):  # a workload that tells none: by the input
            untold = np.flatnonzero(np.asarray([not one for one in told]))
            inputs = unpacked_records(table.take(untold))
            content[untold] = np.fromiter((hash(content_of(one).equal) for one in inputs), np.int64, len(untold))
        facts["content"], facts["label"], facts["side"] = content, _labels(targets_in(table)), sides_N
        facts["place"] = np.arange(self._count, self._count + len(told))
        part = content.view(np.uint64) % np.uint64(len(self._parts))
        for number, file in enumerate(self._parts):
            file.write((facts[part == number] if len(self._parts) > 1 else facts).tobytes())
        self._count += len(told)
        self.trained += int((sides_N == TRAIN).sum())

    def measures(self, records: Records) -> dict[str, Measure]:
        """`records` are those that were added: examples are named by id."""
        n = self._count
        if not n:
            return {}
        found = _Equals()
        for part in self._parts:
            found.add(_facts(part))
        conflicts = records.ids_at(found.conflict)
        leaked = records.ids_at(found.leak)
        return {
            "duplicate_fraction": Measure(value=share(found.repeated, n), n=n),
            "conflicting_label_fraction": Measure(value=share(found.conflicting, n), n=n, detail=_eg(conflicts)),
            "cross_split_duplicate_fraction": Measure(
                value=share(found.leaked, found.tested), n=found.tested, detail=_eg(leaked)
            ),
        }

    def near(self, records: Records, config: NearDuplicates, schema: Schema | None) -> dict[str, Measure]:
        """Two more readings of the records. What is kept of each is in memory."""
        which = numbered(records, config, schema)
        sizes = np.bincount(which)
        alike = sizes[which] > 1
        leaked, of = across(which, self._sides())
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

    def _sides(self) -> Numbers:
        """Numbers in `SIDES` (N,)."""
        found = np.empty(self._count, np.uint8)
        for part in self._parts:
            facts = _facts(part)
            found[facts["place"]] = facts["side"]
        return found


@dataclass(kw_only=True)
class _Equals:
    """Counts over parts, and the first example of each kind by its place."""

    repeated: int = 0  # records whose content another has
    conflicting: int = 0  # of them those whose content has another label elsewhere
    leaked: int = 0  # records that are tested and whose content is trained on
    tested: int = 0
    conflict: list[int] = field(default_factory=list)  # places
    leak: list[int] = field(default_factory=list)

    def add(self, facts: Array) -> None:
        """One more part (P,), in the order of places."""
        if not len(facts):
            return
        which, counts = np.unique(facts["content"], return_inverse=True, return_counts=True)[1:]
        self.repeated += int(counts[counts > 1].sum())
        least, most = np.full(len(counts), 2**63 - 1), np.full(len(counts), -(2**63))
        np.minimum.at(least, which, facts["label"])
        np.maximum.at(most, which, facts["label"])
        conflicts = (least != most)[which]
        self.conflicting += int(conflicts.sum())
        self.conflict = _first(self.conflict, facts["place"][_one_group(which, conflicts)].tolist())
        leaked, tested = across(which, facts["side"])
        self.leaked, self.tested = self.leaked + len(leaked), self.tested + tested
        self.leak = _first(self.leak, facts["place"][leaked[:1]].tolist())


def _first(ours: list[int], theirs: list[int]) -> list[int]:
    """Whichever comes first."""
    return min(ours or theirs, theirs or ours)


def _facts(part: IO[bytes]) -> Array:
    part.seek(0)
    return np.frombuffer(part.read(), FACTS)


def _eg(ids: Sequence[str]) -> str:
    return f"e.g. {', '.join(ids)}" if ids else ""


def across(which: Array, sides: Array) -> tuple[Array, int]:
    """Places of test records whose group `which` (N,) has a record that is trained on, and how many are tested."""
    trained = np.zeros(int(which.max(initial=0)) + 1, dtype=bool)
    trained[which[sides == TRAIN]] = True
    tested = np.flatnonzero(sides == TEST)
    return tested[trained[which[tested]]], len(tested)


def _one_group(which: Array, chosen: Array) -> list[int]:
    """The first places of the first group that has one."""
    first = np.flatnonzero(chosen)
    return [] if not len(first) else np.flatnonzero(which == which[first[0]])[:EXAMPLES].tolist()


def _labels(targets: Array) -> Array:
    """A number for each."""
    if targets.ndim == 1 and targets.dtype == np.int64:
        return targets
    told = map(tuple, targets.reshape(len(targets), -1).tolist()) if targets.ndim > 1 else targets.tolist()
    return np.fromiter(map(hash, told), np.int64, len(targets))
