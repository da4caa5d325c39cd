"""Ingest: the delivery becomes an immutable snapshot."""

from __future__ import annotations

from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.tasks.wiring import Run
from prefect import task


@task(name="Ingest raw objects", retries=2, retry_delay_seconds=[2, 10])
def ingest(run: Run) -> Snapshot:
    """List the source, copy what is new, publish the snapshot."""
    return take_snapshot(run.raw, run.adapters.store, prefix=run.spec.source.prefix)
