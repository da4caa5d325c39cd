"""What the looks at one canary have read of the log, its feedback, and the labels that are brought: each file once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.brought import BroughtLabels
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.cursor import LogCursor
from mlratchet.models.inference_log.labels import Labelled, labelled
from mlratchet.models.inference_log.reading import LogStretch
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.serving.live_evidence import COLUMNS


@dataclass
class _Cursors:
    began_s: float
    generation: int
    answers: LogCursor
    feedback: LogCursor
    brought: BroughtLabels | None


class CanaryReader:
    """For one process that looks again and again; another canary of the pipeline begins anew. Used by one thread."""

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        labels_in: Callable[[LabelsConfig], ObjectStore | None] = lambda _: None,
    ) -> None:
        """`labels_in`: opens the bucket into which labels are brought as objects; None where none are."""
        self._store, self._keys, self._labels_in = store, keys, labels_in
        self._held: _Cursors | None = None

    def begin_anew(self) -> None:
        """The next reading opens all again: also rows that came late, for a time that had been complete, are in it."""
        self._held = None

    def read(
        self, entry: CanaryEntry, labels: LabelsConfig, *, quality: bool, now_s: float
    ) -> tuple[LogStretch, Labelled | None]:
        """The first row of every request since the canary began, with `COLUMNS`; with `quality` their labels, too."""
        held = self._cursors(entry, labels)
        stretch = held.answers.read(max(now_s, entry.began_s))
        if not quality or not stretch.table.num_rows:
            return stretch, None
        return stretch, labelled(
            stretch, self._store, self._keys, labels, now_s=now_s, feedback=held.feedback.read(now_s),
            brought=held.brought.read() if held.brought is not None else None,
        )  # fmt: skip

    def _cursors(self, entry: CanaryEntry, labels: LabelsConfig) -> _Cursors:
        held = self._held
        if held is None or (held.began_s, held.generation) != (entry.began_s, entry.generation):
            bucket = self._labels_in(labels)

            def firsts(table: pa.Table) -> pa.Table:
                ours = pc.and_(pc.equal(table["row"], 0), pc.equal(table["generation"], entry.generation))
                return table.filter(ours)

            store, keys, since_s = self._store, self._keys, entry.began_s
            self._held = held = _Cursors(
                began_s=entry.began_s,
                generation=entry.generation,
                answers=LogCursor(store, keys, entry.name, since_s=since_s, columns=COLUMNS, keep=firsts),
                feedback=LogCursor(store, keys, entry.name, since_s=since_s, holds="feedback"),
                brought=BroughtLabels(bucket, labels) if bucket is not None else None,
            )
        return held
