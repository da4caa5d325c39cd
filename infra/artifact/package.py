"""Package a trained module as an MLflow model directory that is served without the user's code."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from mlratchet.infra.artifact.mlflow_model import RUNTIME, describe_for_mlflow
from mlratchet.infra.child.handed_back import read_handed_back, require_plain_files
from mlratchet.infra.settings import forbid_pickle
from mlratchet.models.artifact.files import EXPORTED, EXPORTED_BY_NAME, MOST_TEXT, PREPARED_EXAMPLE, PROGRAM
from mlratchet.models.artifact.manifest import ArtifactManifest, describe_directory
from mlratchet.models.artifact.prepared_example import prepared_example
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.evaluation.away import ModelAway, arrays_in, arrays_out, ask_away, model_of
from mlratchet.models.ports.children import ForeignCodeError, Workplace
from mlratchet.models.tensors.batch import ByName, Model, aligned, batch_of, export_program
from mlratchet.models.tensors.named import Inputs
from torch import nn

EXPORT, EXPORT_S = f"{__name__}:export_away", 3600.0


def export(model: Model | ModelAway, example: Inputs, out: Path) -> None:
    """Write the exported program below `out`, in a child where the model is away. Raises ``ValueError`` as
    `export_here`, and ``ForeignCodeError`` for what is no export."""
    shutil.rmtree(out, ignore_errors=True)  # what a try before this one left
    if isinstance(model, ModelAway):
        out.parent.mkdir(parents=True, exist_ok=True)
        request = {"folder": out.name}
        ask_away(
            EXPORT, {"models": {"it": model}}, example.arrays(), request, scratch=out.parent, time_limit_s=EXPORT_S
        )
    else:
        export_here(model, example, out)
    refuse_other_files(out, EXPORTED if example.is_one else EXPORTED_BY_NAME)


def refuse_other_files(out: Path, expected: frozenset[str] = EXPORTED) -> None:
    """Raises ``ForeignCodeError`` for files that are no part of an export, and where MLflow would be told to load code
    by another way than its own."""
    files = {str(file.relative_to(out)): file for file in require_plain_files(out)}
    strange = sorted(set(files) ^ expected)
    if strange:
        raise ForeignCodeError(f"the export has other files than an export has: {', '.join(strange[:5])}")
    for name, file in files.items():
        if name != PROGRAM:
            read_handed_back(file, most_bytes=MOST_TEXT)
    if expected == EXPORTED_BY_NAME:
        return  # a program, and nothing that says how to load it
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
    export_here(module, Inputs.from_arrays(arrays_in(workplace)), workplace.scratch / request["folder"])
    return arrays_out(workplace, {})


def export_here(model: Model, example: Inputs, out: Path) -> None:
    """The exported program as MLflow writes it; of a model that takes tensors by name the program alone, since MLflow
    exports by position.

    Args:
        model: A module in eval mode, or one that is asked by name: one left in train mode would export live dropout.
        example: Two or more rows; one row would freeze the batch size.
        out: Where to write; it must not exist.

    Raises ``ValueError`` for an example of fewer than two rows or a module in train mode.
    """
    if len(example) < 2:
        raise ValueError(f"the export needs 2 example rows to keep the batch dynamic, got {len(example)}")
    module = model.module if isinstance(model, ByName) else model
    assert isinstance(module, nn.Module)
    if module.training:
        raise ValueError("the module is in train mode; call .eval() first")
    forbid_pickle()
    if not example.is_one:
        program = export_program(module, aligned(batch_of(example, least=2)), example.specs)
        (out / PROGRAM).parent.mkdir(parents=True)
        torch.export.save(program, out / PROGRAM)
        return
    import mlflow.pytorch
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    x = example.array
    with torch.inference_mode():
        output = module(torch.from_numpy(x)).numpy()
    signature = ModelSignature(
        inputs=Schema([TensorSpec(x.dtype, (-1, *x.shape[1:]))]),
        outputs=Schema([TensorSpec(output.dtype, (-1, *output.shape[1:]))]),
    )
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pytorch.save_model(
            module,
            str(out),
            signature=signature,
            input_example=x,
            serialization_format="pt2",
            pip_requirements=list(RUNTIME),  # said, for MLflow would load the model to find them
        )


def complete(
    out: Path,
    signature: Signature,
    example: Inputs,
    *,
    card: str,
    weights_file: Path,
    instances: Sequence[Any] | None = None,
) -> ArtifactManifest:
    """Put weights, signature and card beside an export, and MLflow's description over the export's own. `example`: a
    few rows; `instances`: the same as clients send them, where the version prepares those."""
    shutil.copyfile(weights_file, out / "weights.safetensors")
    (out / "signature.json").write_text(signature.to_json())
    describe_for_mlflow(out, signature, example, instances)
    (out / "card.md").write_text(card)
    if instances is not None and signature.input.example is not None:
        (out / PREPARED_EXAMPLE).write_bytes(prepared_example(instances, example, signature.input.example))
    return describe_directory(out)
