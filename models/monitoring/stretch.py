"""Windows that are merged: the drift of a long stretch, or of so many rows, from the sketches in the records.

Nothing of the log is read again. A stretch is of windows that have one reference: their sketches have the same bins.
What a record does not keep (samples of prepared inputs) has no drift here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.measure.columns import ColumnDrift, drifts, together
from mlratchet.models.monitoring.reference import Reference
from mlratchet.models.monitoring.sketches import sketch_from_json
from mlratchet.models.monitoring.window import WindowRecord

SUMMED = ("rows", "requests", "errors", "refused", "dropped", "labelled")


@dataclass(frozen=True, kw_only=True)
class MergedWindows:
    """Windows together."""

    from_s: float
    to_s: float
    version: int
    windows: int
    left_out: int
    """Of other versions or references, and such as are not whole."""
    counts: Mapping[str, int]
    drifts: tuple[ColumnDrift, ...] = ()
    """From the test rows, the largest first."""

    def document(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "from_s": self.from_s, "to_s": self.to_s, "version": self.version, "windows": self.windows,
            "left_out": self.left_out, "counts": dict(self.counts),
            "drifts": [{"field": one.field, "moved": one.moved} | one.found.to_json() for one in self.drifts],
        }  # fmt: skip


def stretch_of(
    windows: Sequence[WindowRecord], reference: Reference | None, config: MonitoringConfig
) -> MergedWindows | None:
    """All windows that have the reference of the newest; None where there is none.

    `windows` in the order of time; `reference`: that of the newest.
    """
    if not windows or reference is None:
        return None
    newest = windows[-1]
    taken = [one for one in windows if one.reference == newest.reference and one.window.whole]
    if not taken:
        return None
    merged = together({name: sketch_from_json(state) for name, state in one.sketches.items()} for one in taken)
    then = {name: sketch_from_json(state) for name, state in reference.sketches.items()}
    found = drifts(then, merged, reference.kinds, least=config.windows.minimum_rows)
    return MergedWindows(
        from_s=taken[0].window.from_s, to_s=taken[-1].window.to_s, version=newest.version, windows=len(taken),
        left_out=len(windows) - len(taken),
        counts={name: sum(one.counts.get(name, 0) for one in taken) for name in SUMMED},
        drifts=tuple(sorted(found, key=lambda one: (-one.found.least / config.effect_of(one.field), one.column))),
    )  # fmt: skip


def by_rows(windows: Sequence[WindowRecord], rows: int) -> list[Sequence[WindowRecord]]:
    """Neighbours with at least so many answered rows together and one reference, the oldest first; the last has what
    is left, also where that is fewer."""
    found: list[Sequence[WindowRecord]] = []
    begun: list[WindowRecord] = []
    for one in windows:
        if begun and begun[-1].reference != one.reference:
            found.append(begun)
            begun = []
        begun.append(one)
        if sum(each.counts.get("rows", 0) for each in begun) >= rows:
            found.append(begun)
            begun = []
    return [*found, begun] if begun else found
