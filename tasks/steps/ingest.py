"""Ingest: the delivery becomes an immutable snapshot."""

from __future__ import annotations

from mlratchet.models.data.snapshot import Snapshot, load_snapshot, take_snapshot
from mlratchet.tasks.step import step
from mlratchet.tasks.support.log_rows import with_log_rows
from mlratchet.tasks.wiring import Run


@step("Ingest raw objects")
def ingest(run: Run) -> Snapshot:
    """List the source, copy or pin what is new, publish the snapshot. A run that is taken up again after it
    asked people goes on with the one that it asked about, whatever was delivered since."""
    if run.waited is not None:
        return load_snapshot(run.adapters.store, run.waited.snapshot)
    source = run.spec.source
    taken = take_snapshot(run.raw, run.adapters.store, prefix=source.prefix, pin=source.snapshot == "pin")
    return with_log_rows(run, taken)
