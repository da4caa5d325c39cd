"""Ingest: the delivery becomes an immutable snapshot."""

from __future__ import annotations

from mlratchet.models.data.snapshot import Snapshot, take_snapshot
from mlratchet.tasks.retry import worth_repeating
from mlratchet.tasks.wiring import Run
from prefect import task
from prefect.cache_policies import NO_CACHE


@task(
    name="Ingest raw objects",
    task_run_name="Ingest raw objects",
    retries=2,
    retry_delay_seconds=[2, 10],
    cache_policy=NO_CACHE,
    retry_condition_fn=worth_repeating,
)
def ingest(run: Run) -> Snapshot:
    """List the source, copy what is new, publish the snapshot."""
    return take_snapshot(run.raw, run.adapters.store, prefix=run.spec.source.prefix)
