"""What a window is compared with beside the test rows: the last good window, and the same hour of last week.

Both are signed records of windows before it, and what is compared are their sketches and figures: the log is not read
again. Which record it is follows from the records up to the one before, so that whoever measures the window later takes
the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from mlratchet.models.errors import SecurityError
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.config import ReferenceName
from mlratchet.models.monitoring.cutting import Edges
from mlratchet.models.monitoring.pace import WEEK_S
from mlratchet.models.monitoring.window import WindowRecord, load_window
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

logger = logging.getLogger(__name__)

LOOKED_BACK = 60  # records, for a good one


@dataclass(frozen=True, kw_only=True)
class PastWindow:
    """One reference beside the test rows, or why there is none."""

    name: ReferenceName
    record: WindowRecord | None = None
    missing: str = ""

    @property
    def words(self) -> str:
        """What it is, for a person: `the last good window, 2026-11-20T09:00:00Z`."""
        what = "the last good window" if self.name == "last_good" else "the same hour of last week"
        if self.record is None:
            return f"{what}: none, {self.missing}"
        return f"{what}, {utc(self.record.window.from_s)}"


class PastWindows:
    """The records of a pipeline, each read once."""

    def __init__(self, store: ObjectStore, pipeline: str) -> None:
        self._store, self._pipeline = store, pipeline
        self._read: dict[int, WindowRecord | None] = {}

    def record(self, number: int) -> WindowRecord | None:
        """None where none of ours has the number."""
        if number not in self._read:
            try:
                self._read[number] = load_window(self._store, self._pipeline, number)
            except (ObjectNotFound, SecurityError) as error:
                logger.warning("%s", error)
                self._read[number] = None
        return self._read[number]

    def add(self, record: WindowRecord) -> None:
        """One that was just published."""
        self._read[record.number] = record

    def of(self, names: tuple[ReferenceName, ...], before: WindowRecord | None, edges: Edges) -> tuple[PastWindow, ...]:
        """Of the window between `edges`, which follows the record `before`; in the order of `names`."""
        found = {"last_good": self._last_good, "last_week": self._last_week}
        return tuple(found[name](before, edges) for name in names)

    def _last_good(self, before: WindowRecord | None, _edges: Edges) -> PastWindow:
        newest = before.number if before is not None else 0
        for number in range(newest, max(0, newest - LOOKED_BACK), -1):
            record = self.record(number)
            if record is not None and record.is_good:
                return PastWindow(name="last_good", record=record)
        why = f"none of the {min(newest, LOOKED_BACK)} before it is one" if newest else "it is the first"
        return PastWindow(name="last_good", missing=why)

    def _last_week(self, before: WindowRecord | None, edges: Edges) -> PastWindow:
        wanted_s = sum(edges) / 2 - WEEK_S
        low, high = 1, before.number if before is not None else 0
        while low <= high:  # numbers ascend with time
            middle = (low + high) // 2
            there = (at for at in range(middle, low - 1, -1) if self.record(at) is not None)  # one may be erased
            found = next(there, None)
            record = self.record(found) if found is not None else None
            if found is None or record is None:
                low = middle + 1
                continue
            if record.window.from_s <= wanted_s < record.window.to_s:
                usable = record.window.whole and record.window.rows > 0
                held = record if usable else None
                return PastWindow(name="last_week", record=held, missing="" if usable else "it is not whole or empty")
            low, high = (middle + 1, high) if record.window.to_s <= wanted_s else (low, found - 1)
        return PastWindow(name="last_week", missing="there was no window then")
