"""What the page to try a model makes its form of: fields, their kinds and limits, and what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.schema.fields import Field, Schema
from mlratchet.models.schema.request import WORDS
from mlratchet.models.schema.time_formats import ISO, example_of
from mlratchet.models.serving.field_order import place_in
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.reading.parts import PICTURE
from mlratchet.models.sources.record import InputSpec

Json = dict[str, Any]
ARRAY = "array"  # the one field of a model whose input has no name: the example itself


def form_of(name: str, predictor: Predictor | None, order: Sequence[str] = ()) -> Json:
    """As JSON for the page. `order`: fields that come first, in this order."""
    if predictor is None:
        return {"name": name, "version": None, "fields": []}
    signature = predictor.signature
    place = place_in(order)
    return {
        "name": name,
        "version": predictor.version,
        "task": signature.task.rpartition(":")[2],
        "classes": list(signature.classes),
        "fields": sorted(_fields(signature), key=lambda field: place(field["name"])),
    }


def _fields(signature: Signature) -> list[Json]:
    spec = signature.input
    if spec.example is not None:
        schema = Schema.model_validate_json(spec.example.schema)
        return [_of_schema(name, field) for name, field in schema.inputs.items()]
    if spec.tensors:
        return [
            {
                "name": one.name,
                "kind": "tensor",
                "needed": True,
                "hint": str(one),
                "value": np.zeros((1, *one.shape) if one.ragged else one.shape, one.dtype).tolist(),
            }
            for one in spec.tensors
        ]
    if spec.kind == "image":
        return [{"name": PICTURE, "label": "picture", "kind": "image", "needed": True, "shape": list(spec.shape)}]
    if spec.kind == "table" and spec.columns:
        return _of_columns(signature, spec)
    hint = f"numbers of shape {' x '.join(map(str, spec.shape))}"
    return [{"name": ARRAY, "kind": "tensor", "needed": True, "alone": True, "hint": hint,
             "value": np.zeros(spec.shape, spec.dtype).tolist()}]  # fmt: skip


def _of_columns(signature: Signature, spec: InputSpec) -> list[Json]:
    defaults = dict(spec.defaults)
    ranges = {name: (low, high) for name, low, high in signature.ranges}
    found = []
    for name in spec.columns:
        low, high = ranges.get(name, spec.value_range or (None, None))
        limits = {"minimum": low, "maximum": high, "whole": spec.dtype != "float32"}
        needed = {"needed": name not in defaults, "value": defaults.get(name)}
        found.append({"name": name, "kind": "number", **needed, **limits})
    return found


def _written(field: Field) -> str:
    """What a control does not say by itself."""
    if field.kind == "letters" and field.letters:
        return f"of {field.letters}"
    if field.kind == "time" and field.format not in (None, ISO):
        return f"as in your data, {example_of(str(field.format))}, or as {example_of(ISO)}"
    return WORDS[field.kind] if field.kind in ("time", "tensor") else ""


def _of_schema(name: str, field: Field) -> Json:
    told: Json = {
        "name": name,
        "kind": field.kind,
        "needed": not field.nullable,
        "hint": field.description or _written(field),
        "unit": field.unit,
        "minimum": field.minimum,
        "maximum": field.maximum,
        "whole": field.whole,
        "values": list(field.values) if field.values is not None else None,
    }
    if field.kind == "time":
        told |= {"format": field.format or ISO, "example": example_of(field.format or ISO)}
    if field.kind == "tensor":
        told["value"] = np.zeros(field.shape or ()).tolist()
    return told
