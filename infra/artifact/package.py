"""Package a trained module as an MLflow model directory that is served without the user's code."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlratchet.infra.artifact.mlflow_model import RUNTIME, describe_for_mlflow
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.manifest import ArtifactManifest, describe_directory
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.workloads.base import Workload
from torch import nn


def build_model_directory(
    module: nn.Module,
    workload: Workload,
    example: np.ndarray[Any, Any],
    *,
    out: Path,
    card: str,
    weights_file: Path,
    defaults: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> ArtifactManifest:
    """Write exported program, weights, signature, input example and card below `out`, which must not exist.

    Args:
        module: In eval mode: a module left in train mode would export live dropout.
        workload: For the signature.
        example: Two or more rows; one row would freeze the batch size.
        out: Where to write.
        card: Markdown.
        weights_file: The safetensors of the training.
        defaults: Column -> what a request that lacks it means.
        ranges: Column -> lowest and highest value of a request.

    Raises ``ValueError`` for an example of fewer than two rows or a module in train mode.
    """
    if len(example) < 2:
        raise ValueError(f"the export needs 2 example rows to keep the batch dynamic, got {len(example)}")
    if module.training:
        raise ValueError("the module is in train mode; call .eval() first")
    forbid_pickle()
    import mlflow.pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    with torch.inference_mode():
        output = module(torch.from_numpy(example)).numpy()
    signature = ModelSignature(
        inputs=Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))]),
        outputs=Schema([TensorSpec(output.dtype, (-1, *output.shape[1:]))]),
    )
    shutil.rmtree(out, ignore_errors=True)  # what a try before this one left
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module,
            str(out),
            signature=signature,
            input_example=example,
            serialization_format="pt2",
            pip_requirements=list(RUNTIME),  # said, for MLflow would load the model to find them
        )
    shutil.copyfile(weights_file, out / "weights.safetensors")
    described = signature_of(workload, defaults, ranges)
    (out / "signature.json").write_text(described.to_json())
    describe_for_mlflow(out, described, example)
    (out / "card.md").write_text(card)
    return describe_directory(out)
