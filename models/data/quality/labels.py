"""The classes of a delivery: how many, the rarest, and how far their shares moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.quality.measure import Measure, Names
from mlratchet.models.data.split import SIDES, Numbers, Side
from mlratchet.models.sources.record_table import targets_in

if TYPE_CHECKING:
    import pyarrow as pa


class Labels:
    """Counts over the records."""

    def __init__(self, previous: DatasetManifest | None, ours: Names, theirs: Names) -> None:
        self._previous, self._ours, self._theirs = previous, ours, theirs
        self._n, self._exclusive = 0, True
        self._by_side: dict[Side, Counter[str]] = {side: Counter() for side in SIDES}

    def add(self, table: pa.Table, sides_N: Numbers) -> None:
        """The next records."""
        self._n += table.num_rows
        targets, classes = targets_in(table), self._ours.classes
        self._exclusive = self._exclusive and targets.ndim == 1
        if not classes or targets.ndim > 2 or (targets.ndim == 2 and targets.shape[1] != len(classes)):
            return  # a number, or a sequence or set, which has no class of its own
        for number, side in enumerate(SIDES):
            of_side = targets[sides_N == number]
            if targets.ndim == 1:
                counts = np.bincount(of_side.astype(np.int64), minlength=len(classes))
            else:
                counts = (of_side != 0).sum(axis=0)
            self._by_side[side].update({classes[place]: int(counts[place]) for place in np.flatnonzero(counts)})

    @property
    def _counts(self) -> Counter[str]:
        return sum(self._by_side.values(), Counter[str]())

    def measures(self) -> dict[str, Measure]:
        """Of all of them; nothing where there are no classes."""
        if not self._ours.classes:
            return {}
        n, counts, previous, shift = self._n, self._counts, self._previous, 0.0
        if previous is not None and previous.target_counts:
            shift = prior_shift(counts, previous, n, self._ours, self._theirs, exclusive=self._exclusive)
        rarest = min(counts, key=lambda name: counts[name], default="")
        return {
            "class_count": Measure(value=float(len(counts)), n=n),
            "smallest_class_rows": Measure(
                value=float(counts[rarest]), n=n, detail=f"class {rarest}" if rarest else ""
            ),
            "label_prior_shift": Measure(value=shift, n=n if previous else 0, detail=_alone(self._ours, self._theirs)),
        }

    def broken(self) -> dict[str, str]:
        """Rules of the delivery."""
        if not self._ours.classes or not self._exclusive:
            return {}
        found = {}
        if len(self._counts) == 1:
            only = next(iter(self._counts))
            found["single_class"] = (
                f"every one of {self._n:,} records is of class {only!r}, expected two or more classes: nothing can be "
                "told apart"
            )
        absent = [
            f"{side} has none of {', '.join(map(repr, lacking))}"
            for side in SIDES
            if (lacking := sorted(set(self._counts) - set(self._by_side[side])))
        ]
        if absent:
            found["class_absent_from_split"] = f"{'; '.join(absent)}: deliver more of them or enlarge data.split"
        return found


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
