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
import yaml
from mlratchet.infra.artifact.mlflow_model import RUNTIME, describe_for_mlflow
from mlratchet.infra.child.handed_back import read_handed_back, require_plain_files
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.files import EXPORTED, MOST_TEXT, PROGRAM
from mlratchet.models.artifact.manifest import ArtifactManifest, describe_directory
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.evaluation.away import ModelAway, arrays_in, arrays_out, ask_away, model_of
from mlratchet.models.ports.children import ForeignCodeError, Workplace
from torch import nn

EXPORT, EXPORT_S = f"{__name__}:export_away", 3600.0


def export(model: nn.Module | ModelAway, example: np.ndarray[Any, Any], out: Path) -> None:
    """Write the exported program below `out`, in a child where the model is away. Raises ``ValueError`` as
    `export_here`, and ``ForeignCodeError`` for what is no export."""
    shutil.rmtree(out, ignore_errors=True)  # what a try before this one left
    if isinstance(model, ModelAway):
        out.parent.mkdir(parents=True, exist_ok=True)
        request = {"folder": out.name}
        ask_away(EXPORT, {"models": {"it": model}}, {"x": example}, request, scratch=out.parent, time_limit_s=EXPORT_S)
    else:
        export_here(model, example, out)
    refuse_other_files(out)


def refuse_other_files(out: Path) -> None:
    """Raises ``ForeignCodeError`` for files that are no part of an export, and where MLflow would be told to load code
    by another way than its own."""
    files = {str(file.relative_to(out)): file for file in require_plain_files(out)}
    strange = sorted(set(files) ^ EXPORTED)
    if strange:
        raise ForeignCodeError(f"the export has other files than an export has: {', '.join(strange[:5])}")
    for name, file in files.items():
        if name != PROGRAM:
            read_handed_back(file, most_bytes=MOST_TEXT)
    described = yaml.safe_load(files["MLmodel"].read_text())
    flavors = described.get("flavors", {}) if isinstance(described, dict) else {}
    plain = flavors.get("python_function", {})
    if (
        set(flavors) != {"python_function", "pytorch"}
        or plain.get("loader_module") != "mlflow.pytorch"
        or plain.get("code") is not None
        or flavors["pytorch"].get("code") is not None
        or plain.get("pickle_module_name") not in (None, "mlflow.pytorch.pickle_module")
    ):
        raise ForeignCodeError("the export's MLmodel names other code than MLflow's own to load it")


def export_away(request: Mapping[str, Any], workplace: Workplace) -> str:
    """In a child: below its scratch."""
    module = model_of(request["models"]["it"], workplace)
    assert isinstance(module, nn.Module)
    export_here(module, arrays_in(workplace)["x"], workplace.scratch / request["folder"])
    return arrays_out(workplace, {})


def export_here(module: nn.Module, example: np.ndarray[Any, Any], out: Path) -> None:
    """The exported program as MLflow writes it.

    Args:
        module: In eval mode: a module left in train mode would export live dropout.
        example: Two or more rows; one row would freeze the batch size.
        out: Where to write; it must not exist.

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


def complete(
    out: Path, signature: Signature, example: np.ndarray[Any, Any], *, card: str, weights_file: Path
) -> ArtifactManifest:
    """Put weights, signature and card beside an export, and MLflow's description over the export's own. `example`:
    (N, *input shape)."""
    shutil.copyfile(weights_file, out / "weights.safetensors")
    (out / "signature.json").write_text(signature.to_json())
    describe_for_mlflow(out, signature, example)
    (out / "card.md").write_text(card)
    return describe_directory(out)
