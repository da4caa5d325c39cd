"""A training alone in this process, over stores in memory."""

from __future__ import annotations

import torch
from mlratchet.models.config import WorkloadRef
from mlratchet.models.data.dataset import DatasetManifest
from mlratchet.models.data.prepared_shards import fitted_to, with_fitted
from mlratchet.models.metrics.rows import RowOutputs, load_rows
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.job import TrainJob
from mlratchet.models.training.observers import Surroundings
from mlratchet.models.training.run import run_training


def trained_rows(
    store: ObjectStore, manifest: DatasetManifest, workload: WorkloadRef, train: TrainConfig
) -> RowOutputs:
    """What the trained model says of the test rows."""
    fitted = with_fitted(workload, fitted_to(store, manifest)) if manifest.preparation_sha256 else workload
    job = TrainJob(
        work_key="w", epoch=1, dataset_id=manifest.id, workload=fitted, train=train, processes=1, scratch="."
    )
    result = run_training(job, store, rank=0, world=1, device=torch.device("cpu"), around=Surroundings())
    assert result is not None
    assert result.rows_key is not None
    return load_rows(store, result.rows_key)
