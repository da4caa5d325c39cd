"""Preprocess: records become shards, by split."""

from __future__ import annotations

from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.preprocess import write_dataset
from mlratchet.models.data.snapshot import Snapshot
from mlratchet.tasks.retry import worth_repeating
from mlratchet.tasks.validate import Checked
from mlratchet.tasks.wiring import Run
from prefect import task
from prefect.cache_policies import NO_CACHE


@task(
    name="Preprocess into shards",
    task_run_name="Preprocess into shards",
    retries=2,
    retry_delay_seconds=[2, 10],
    cache_policy=NO_CACHE,
    retry_condition_fn=worth_repeating,
)
def preprocess(run: Run, snapshot: Snapshot, checked: Checked) -> DatasetManifest:
    """Write the dataset unless it exists."""
    return write_dataset(
        run.adapters.store,
        snapshot,
        checked.records,
        run.workload_digest,
        run.spec.workload,
        run.spec.data,
        run.spec.source,
        class_names=run.workload.class_names(),
    )
