"""The work key: what makes a training the same training.

Same key, nothing recomputed. The command line, docs, gates and the parent of a warm start are not part of it.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import mlratchet.models.training
import mlratchet.models.workloads
from mlratchet.models.identity.canonical import digest
from mlratchet.models.pipeline.spec import PipelineSpec


@cache
def training_source_digest() -> str:
    """SHA-256 hex of the source of the packages that decide what is trained."""
    hasher = hashlib.sha256()
    for package in (mlratchet.models.training, mlratchet.models.workloads):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                hasher.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return hasher.hexdigest()


def work_key(
    spec: PipelineSpec, *, snapshot_id: str, dataset_id: str, workload_digest: str, torch_version: str, world: int
) -> str:
    """SHA-256 hex over everything that decides the weights. `world`: processes, which count in `fast` mode alone."""
    return digest(
        {
            "pipeline": spec.name,
            "workload": {"use": spec.workload.use, "parameters": spec.workload.parameters},
            "workload_source": workload_digest,
            "training_source": training_source_digest(),
            "train": spec.train.identity(world=world),
            "snapshot": snapshot_id,
            "dataset": dataset_id,
            "torch": torch_version,
        }
    )
