"""Ingest: the delivery becomes an immutable snapshot."""

from __future__ import annotations

from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.tasks.step import step
from mlratchet.tasks.wiring import Run


@step("Ingest raw objects")
def ingest(run: Run) -> Snapshot:
    """List the source, copy what is new, publish the snapshot."""
    return take_snapshot(run.raw, run.adapters.store, prefix=run.spec.source.prefix)
