"""The work key: what makes a training the same training.

Same key, nothing recomputed. The command line, docs, gates and the parent of a warm start are not part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure
from mlratchet.models.identity.product import code_of_training
from mlratchet.models.pipeline.spec import PipelineSpec
from mlratchet.models.sources.log_rows import logged_weight


def training_code(spec: PipelineSpec, workload: Closure) -> dict[str, Any]:
    """The code that decides the weights: of the workload, of an optimizer's factory, and Ratchet's own."""
    return code_of_training(workload, spec.train.optimizer.factory)


def work_parts(
    spec: PipelineSpec,
    *,
    snapshot_id: str,
    dataset_id: str,
    code: Any,
    torch_version: str,
    world: int,
) -> dict[str, Any]:
    """Everything that decides the weights, as JSON values; the work key is their digest.

    Args:
        spec: The pipeline.
        snapshot_id: Of the raw objects.
        dataset_id: Of the rows.
        code: Names the code that decides, as JSON values: `training_code`.
        torch_version: Without the build.
        world: Processes, which count in `fast` mode alone.
    """
    weight = logged_weight(spec.source.inference_log)
    return {
        "pipeline": spec.name,
        "workload": spec.workload.model_dump(mode="json"),
        "code": code,
        "train": spec.train.identity(world=world),
        **({"source.inference_log.weight": weight} if weight != 1 else {}),
        "snapshot": snapshot_id,
        "dataset": dataset_id,
        "torch": torch_version,
    }


def work_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 hex of `work_parts`."""
    return digest(parts)
