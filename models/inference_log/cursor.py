"""Read a log on from where the last look ended: each file is opened once, however often somebody looks.

What was settled at a look is kept in memory and not read again. Whatever could change it begins anew: another server
that writes, and files that were put together or rid of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.file import Holds, LogFile, folder_of
from mlratchet.models.inference_log.reading import MOMENT, LogStretch, read_log, together
from mlratchet.models.inference_log.walk import numbers_of
from mlratchet.models.ports.storage import ObjectStore

Keep = Callable[[pa.Table], pa.Table]
Shape = tuple[frozenset[str], int]  # writers, and how many rewrites there were


class LogCursor:
    """Of one stretch that begins at a moment and grows. Used by one thread."""

    def __init__(
        self,
        store: ObjectStore,
        keys: Keys,
        pipeline: str,
        *,
        since_s: float,
        holds: Holds = "answers",
        columns: Sequence[str] | None = None,
        keep: Keep = lambda table: table,
    ) -> None:
        """`columns`: as of `read_log`, the moment among them. `keep`: the rows that are of interest, of some."""
        self._store, self._keys, self._pipeline, self._holds = store, keys, pipeline, holds
        self._since_s, self._columns, self._keep = since_s, columns, keep
        self._shape: Shape = (frozenset(), 0)
        self._begin()

    def _begin(self) -> None:
        self._settled_s = self._since_s  # whatever came before is in what is kept
        self._kept: list[pa.Table] = []
        self._files: dict[str, LogFile] = {}  # by digest of the record
        self._lost: dict[str, int] = {}

    def read(self, until_s: float) -> LogStretch:
        """All of it up to a moment, as `read_log` gives it, less the rows that are of no interest."""
        shape = self._look()
        if shape != self._shape:
            self._begin()
        self._shape = shape
        new = read_log(
            self._store, self._keys, self._pipeline, since_s=self._settled_s, until_s=max(until_s, self._settled_s),
            columns=self._columns, holds=self._holds,
        )  # fmt: skip
        self._files |= dict(zip(new.records, new.files, strict=True))
        self._lost |= new.lost
        rows = self._keep(new.table)
        table = together([*self._kept, rows], self._holds, self._columns)
        if new.whole:
            self._settle(rows, min(new.settled_s if new.settled_s is not None else self._settled_s, until_s))
        return replace(
            new, since_s=self._since_s, table=table, files=tuple(self._files.values()), records=tuple(self._files),
            lost=dict(self._lost), dropped=sum(self._lost.values()),
        )  # fmt: skip

    def _look(self) -> Shape:
        rewrites = self._store.list(f"{folder_of(self._pipeline, self._holds)}rewrites/")
        writers = frozenset(numbers_of(self._store, self._pipeline, self._holds))
        return writers, sum(1 for _ in rewrites)

    def _settle(self, rows: pa.Table, settled_s: float) -> None:
        """What is complete is not read again."""
        if settled_s <= self._settled_s:
            return
        self._kept.append(rows.filter(pc.less(rows[MOMENT[self._holds]], settled_s)))
        self._settled_s = settled_s
