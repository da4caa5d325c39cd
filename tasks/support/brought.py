"""Labels that a pipeline's people bring as objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlratchet.models.inference_log.config import LabelsConfig
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.tasks.wiring import Adapters

if TYPE_CHECKING:
    import pyarrow as pa


def brought(adapters: Adapters, labels: LabelsConfig | None) -> pa.Table | None:
    """Those below the declared prefix; None where none is declared."""
    if labels is None or labels.prefix is None:
        return None
    from mlratchet.models.inference_log.brought import brought_labels  # Arrow: who only reads waits for none

    bucket = labels_bucket(adapters, labels)
    return brought_labels(bucket, labels) if bucket is not None else None


def labels_bucket(adapters: Adapters, labels: LabelsConfig) -> ObjectStore | None:
    """Where they lie; None where no prefix is declared."""
    if labels.prefix is None:
        return None
    return adapters.bucket(labels.bucket) if labels.bucket else adapters.raw
