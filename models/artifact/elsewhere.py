"""A version for those who load it without this package: its bytes, and a document that says what it takes."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from mlratchet.models.artifact.files import PROGRAM, WEIGHTS
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.preparation.base import State
from mlratchet.models.tensors.spec import names_taken, takes_one
from safetensors.torch import load_file

Held = Literal["pt2", "safetensors", "state_dict"]  # forms of what an artifact holds
Made = Literal["onnx", "torchscript"]  # forms that are made of its program
To = Held | Made
FORMS: tuple[To, ...] = (*get_args(Held), *get_args(Made))
ENDINGS: dict[To, str] = {
    "pt2": ".pt2", "safetensors": ".safetensors", "state_dict": ".pt", "onnx": ".onnx", "torchscript": ".ts",
}  # fmt: skip
ABOUT, FITTED = ".json", ".preparation.safetensors"  # endings of what lies beside
OUTPUTS = {
    "classification": "a score per class (logits); softmax makes probabilities of them",
    "multi_label": "a score per label (logits); sigmoid makes probabilities of them",
    "regression": "the number, in the unit of the label",
    "ranking": "the score of the row among those of its query",
}


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """What is handed over."""

    data: bytes
    about: bytes  # JSON: input, output, classes, and how examples are prepared
    fitted: bytes | None  # what the preparation was fitted to; None where clients send tensors


def handed_over(directory: Path, to: To, *, name: str, version: int, made: bytes | None = None) -> Elsewhere:
    """Of a verified artifact. Nothing of it is executed. `made`: its program, in a form that is made of it."""
    signature = Signature.from_json((directory / "signature.json").read_text())
    if made is not None:
        data = made
    elif to == "state_dict":
        sink = io.BytesIO()
        torch.save(load_file(directory / WEIGHTS), sink)  # tensors by name alone, as `weights_only=True` takes them
        data = sink.getvalue()
    else:
        data = (directory / (PROGRAM if to == "pt2" else WEIGHTS)).read_bytes()
    example = signature.input.example
    fitted = base64.b64decode(example.fitted) if example is not None else None
    document = {"pipeline": name, "version": version, **_told(signature)}
    document["load"] = {form: how_to_load(Path(f"{name}-{version}{ENDINGS[form]}"), form, signature) for form in FORMS}
    if example is not None and fitted is not None:
        document["preparation"] = {
            "schema": json.loads(example.schema),
            "options": json.loads(example.preparation),
            "fitted": dict(State.from_bytes(fitted).document),
        }
    return Elsewhere(data=data, about=json.dumps(document, indent=2).encode() + b"\n", fitted=fitted)


def _told(signature: Signature) -> dict[str, Any]:
    spec = signature.input
    return {
        "task": signature.task,
        "classes": list(signature.classes),
        "output": OUTPUTS.get(signature.task, f"as the objective {signature.task} reads it"),
        "kind": spec.kind,
        "columns": list(spec.columns),
        "defaults": dict(spec.defaults),
        "tensors": [asdict(one) for one in signature.tensors],
    }


def how_to_load(file: Path, to: To, signature: Signature) -> list[str]:
    """Lines of Python."""
    if to == "safetensors":
        return [
            "from safetensors.torch import load_file",
            f"module.load_state_dict(load_file({str(file)!r}))  # of your own nn.Module",
        ]
    if to == "state_dict":
        loaded = f"torch.load({str(file)!r}, weights_only=True)"
        return ["import torch", f"module.load_state_dict({loaded})  # of your own nn.Module"]
    if to == "onnx":
        return [
            "import onnxruntime",
            f"model = onnxruntime.InferenceSession({str(file)!r})",
            f"output = model.run(None, {{{_feeds(signature)}}})[0]  # NumPy arrays",
        ]
    if to == "torchscript":
        return ["import torch", f"model = torch.jit.load({str(file)!r})", f"output = model({_arguments(signature)})"]
    return [
        "import torch",
        f"model = torch.export.load({str(file)!r}).module()",
        f"output = model({_arguments(signature)})",
    ]


def _feeds(signature: Signature) -> str:
    names = ["x"] if takes_one(signature.tensors) else names_taken(signature.tensors)
    return ", ".join(f"{name!r}: {name}" for name in names)


def _arguments(signature: Signature) -> str:
    names = names_taken(signature.tensors)
    return names[0] if takes_one(signature.tensors) else ", ".join(f"{name}={name}" for name in names)


def takes(signature: Signature) -> list[str]:
    """What the program takes, a line per tensor; shapes begin with the rows."""
    lines = []
    for one in signature.tensors:
        steps = ["steps"] if one.ragged else []
        shape = ", ".join(map(str, ["rows", *steps, *one.shape]))
        lengths = f", filled up with zeros; {one.lengths}: int64 (rows)" if one.ragged else ""
        lines.append(f"{one.name}: {one.dtype} ({shape}){lengths}")
    return lines
