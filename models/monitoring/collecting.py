"""What the log holds of a window, read and verified: its rows, file after file, and the labels that are due in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.columns import FIELD
from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.inference_log.labels import LabelRequest, labelled
from mlratchet.models.inference_log.reading import list_log, read_log
from mlratchet.models.monitoring.config import MonitoringConfig
from mlratchet.models.monitoring.cutting import Edges, begin_of, due_windows
from mlratchet.models.monitoring.look import Watched, WindowRows
from mlratchet.models.monitoring.window import WindowRecord
from mlratchet.models.ports.storage import ObjectStore

HOUR_S = 3600.0
MOMENT_COLUMNS = ("received_s", "version", "generation", "variant", "replayed")
LABEL_COLUMNS = ("request_id", "row", "received_s", "status", "version", "variant", "replayed", "output")


@dataclass(frozen=True, kw_only=True)
class LogSource:
    """Where the log of a pipeline is, and who is believed."""

    store: ObjectStore
    keys: Keys
    pipeline: str
    labels: LabelsConfig
    brought: Callable[[], pa.Table | None] = lambda: None
    """Labels that were brought as objects. Asked only where a window is measured: it reads every one of them."""

    @property
    def after_s(self) -> float:
        """Seconds after its request by which a label counts."""
        return self.labels.after_hours * HOUR_S


def begin_s_of(before: WindowRecord | None, config: MonitoringConfig, promoted_s: float) -> float:
    """Where the next window begins at the earliest."""
    return before.window.to_s if before is not None else begin_of(config.windows, promoted_s)


@dataclass(frozen=True, kw_only=True)
class DueWindow:
    """A window that ended."""

    edges: Edges
    version: int | None
    """That answered most of its requests; None where there are none."""
    generation: int | None
    """The newest under which it answered."""


def due(
    source: LogSource, before: WindowRecord | None, config: MonitoringConfig, *, promoted_s: float, now_s: float,
    late_s: float,
) -> list[DueWindow]:  # fmt: skip
    """The windows that ended, oldest first.

    Args:
        source: The log.
        before: The newest record.
        config: The policy.
        promoted_s: When the first version of the pipeline was promoted.
        now_s: Seconds since the epoch.
        late_s: Seconds after which nothing more is expected of a writer that says nothing.
    """
    begin = begin_s_of(before, config, promoted_s)
    if config.windows.seconds is not None and now_s < begin + config.windows.seconds:
        return []  # no look at the log is needed
    since = begin - source.after_s
    listing = list_log(source.store, source.keys, source.pipeline, since_s=since, until_s=now_s)
    if not listing.files:
        return []
    settled = max(now_s - late_s, min(listing.settled_s or 0.0, now_s))
    stretch = read_log(source.store, source.keys, source.pipeline, since_s=since, until_s=now_s, columns=MOMENT_COLUMNS)
    table = stretch.table
    received = table["received_s"].to_numpy()
    cut = due_windows(config.windows, received, begin_s=begin, settled_s=settled, labels_within=source.after_s)
    return [_due(table, received, edges) for edges in cut]


def _due(table: pa.Table, received: np.ndarray[Any, Any], edges: Edges) -> DueWindow:
    first, end = np.searchsorted(received, edges)
    rows = table.slice(int(first), int(end - first))
    chosen = rows.filter(pc.and_(_of_clients(rows), pc.greater(rows["version"], 0)))
    versions = chosen["version"].to_pylist()
    counted = Counter(versions)
    version = max(counted, key=lambda one: (counted[one], one)) if counted else None
    under = zip(versions, chosen["generation"].to_pylist(), strict=True)  # one that came back has two generations
    generation = max((generation for one, generation in under if one == version), default=None)
    return DueWindow(edges=edges, version=version, generation=generation)


def _of_clients(table: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.equal(table["variant"], "champion"), pc.invert(table["replayed"]))


def collect(source: LogSource, watched: Watched, before: WindowRecord | None, edges: Edges) -> WindowRows:
    """Everything that `measure_window` needs of the log."""
    low, high = edges
    listing = list_log(source.store, source.keys, source.pipeline, since_s=low, until_s=high)
    label_low = before.labels_to_s if before is not None else low - source.after_s
    label_high = max(high - source.after_s, label_low)  # where labels have more time than before, no row is due twice
    found = _labels(source, watched, (label_low, label_high), high)
    return WindowRows(
        edges=edges, tables=listing.tables(source.store), files=tuple(one.sha256 for one in listing.files),
        problems=(*listing.problems, *found.problems), dropped=listing.dropped, label_span_s=(label_low, label_high),
        label_table=found.table, labels=found.labels, due=found.due, label_files=found.files,
        requests=found.requests,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Labels:
    table: pa.Table
    labels: pa.Table
    due: int
    files: tuple[str, ...]
    requests: tuple[LabelRequest, ...]
    problems: tuple[str, ...]


def _labels(source: LogSource, watched: Watched, span_s: Edges, at_s: float) -> _Labels:
    """The labels of rows whose time for one ends in this window, as they were known when it ended."""
    fields = sorted({FIELD + one.column for one in watched.reference.promises if one.column})
    stretch = read_log(
        source.store, source.keys, source.pipeline, version=watched.version, since_s=span_s[0], until_s=span_s[1],
        columns=[*LABEL_COLUMNS, *fields],
    )  # fmt: skip
    rows = stretch.table.filter(_of_clients(stretch.table))
    found = labelled(
        replace(stretch, table=rows), source.store, source.keys, source.labels, now_s=at_s, brought=source.brought()
    )
    problems = (*stretch.problems, *found.problems)
    return _Labels(
        table=rows, labels=found.table, due=found.rows, files=stretch.digests, requests=found.requests,
        problems=problems,
    )  # fmt: skip
