"""The dataset manifest: which shards, how many rows, from which snapshot by which transform."""

from __future__ import annotations

import json
from typing import Any

from mlratchet.models.data.config import DataConfig, SourceConfig
from mlratchet.models.identity.canonical import digest
from mlratchet.models.pipeline.strict import StrictModel
from mlratchet.models.pipeline.workload import WorkloadRef
from mlratchet.models.ports.storage import ObjectStore


class ShardRef(StrictModel):
    """One shard: `shards/<sha256>.safetensors`."""

    sha256: str
    rows: int

    @property
    def key(self) -> str:
        """Where it is."""
        return f"shards/{self.sha256}.safetensors"


class DatasetManifest(StrictModel):
    """Published last, by conditional create."""

    id: str
    snapshot_id: str
    splits: dict[str, tuple[ShardRef, ...]]
    rows: dict[str, int]
    """Rows per side."""
    target_counts: dict[str, int]
    """Rows per class or label; empty for regression and ranking."""
    index_sha256: str
    """`indexes/<sha256>.json`: record id -> [content SHA-256, label], to find what was relabelled."""


def dataset_id(
    snapshot_id: str, workload_digest: str, workload: WorkloadRef, data: DataConfig, source: SourceConfig
) -> str:
    """SHA-256 hex of everything that decides the rows and their sides."""
    reading: dict[str, Any] = source.model_dump(mode="json", exclude={"bucket", "prefix"})
    if reading["slice_columns"] is None:
        del reading["slice_columns"]  # as datasets were named before it could be said
    return digest(
        {
            "snapshot": snapshot_id,
            "workload_source": workload_digest,
            "workload": workload.model_dump(mode="json"),
            "data": data.model_dump(mode="json"),
            "source": reading,
        }
    )


def load_dataset(store: ObjectStore, identity: str) -> DatasetManifest:
    """A published manifest. Raises ``ObjectNotFound``."""
    document = json.loads(store.get(f"datasets/{identity}.json"))
    splits = {side: tuple(ShardRef(**ref) for ref in refs) for side, refs in document.pop("splits").items()}
    return DatasetManifest(**document, splits=splits)
