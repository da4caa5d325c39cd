"""Entities, and groups, whose records stand on both sides of the split: 8 bytes a record for each field of them."""

from __future__ import annotations

import hashlib
from array import array

import numpy as np
from mlratchet.models.data.quality.contents import TEST, TRAIN
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.data.split import SIDES, Side
from mlratchet.models.schema.fields import Schema
from mlratchet.models.sources.record import Record

MOST = 4  # fields
GROUP = "group"  # stands for what keeps records together


class Entities:
    """Digests of names."""

    def __init__(self, schema: Schema | None) -> None:
        fields = schema.fields.items() if schema is not None else ()
        self._names = [name for name, one in fields if one.kind == "entity"][:MOST]
        self._held = {name: array("Q") for name in (*self._names, GROUP)}
        self._sides = bytearray()

    def add(self, record: Record, side: Side) -> None:
        """The next record."""
        self._sides.append(SIDES.index(side))
        for name in self._names:
            self._held[name].append(_digest(record.columns.get(name, "")))
        self._held[GROUP].append(_digest(record.group or ""))

    def measures(self) -> dict[str, Measure]:
        """The field with the largest share."""
        sides = np.frombuffer(bytes(self._sides), dtype=np.uint8)
        worst, of, detail = -1.0, 0, "there is neither a field of kind entity nor a group"
        for name, held in self._held.items():
            digests = np.asarray(held)
            tested = digests[(sides == TEST) & (digests > 0)]
            trained = np.unique(digests[(sides == TRAIN) & (digests > 0)])
            both = float(np.isin(tested, trained).sum())
            if len(tested) and share(both, len(tested)) > worst:
                worst, of = share(both, len(tested)), len(tested)
                detail = f"{name}: {int(both):,} of {of:,} test records are of one that is also trained on"
        return {"entity_overlap_fraction": Measure(value=max(0.0, worst), n=of, detail=detail)}


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) | 1 if name else 0
