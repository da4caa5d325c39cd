"""Ingest: the delivery becomes an immutable snapshot."""

from __future__ import annotations

from mlratchet.models.data.snapshot import Snapshot, load_snapshot, take_snapshot
from mlratchet.tasks.step import step
from mlratchet.tasks.support.log_rows import with_log_rows
from mlratchet.tasks.wiring import Run


@step("Ingest raw objects")
def ingest(run: Run) -> Snapshot:
    """List the source, copy what is new, publish the snapshot. A run that is taken up again after it asked people goes
    on with the one that it asked about, whatever was delivered since."""
    if run.waited is not None:
        return load_snapshot(run.adapters.store, run.waited.snapshot)
    return with_log_rows(run, take_snapshot(run.raw, run.adapters.store, prefix=run.spec.source.prefix))
