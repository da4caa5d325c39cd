"""A request to begin with: what the description of a server shows, and its page sends as it stands.

Numbers are zero, or what is nearest to zero; of a schema each field has a value of its kind.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.schema.fields import Field, Kind, Schema
from mlratchet.models.schema.time_formats import ISO, example_of
from mlratchet.models.serving.described_numbers import number, number_of
from mlratchet.models.serving.field_order import in_order
from mlratchet.models.sources.record import ExampleSpec
from mlratchet.models.tensors.spec import TensorSpec
from PIL import Image

Json = dict[str, Any]
SIDE = 8  # pixels of a picture
MOST_LETTERS = 8
HERTZ, SAMPLES = 8000, 2400  # of a sound


def first_example(signature: Signature | None, order: Sequence[str] = ()) -> Json:
    """One row, with its fields in this order."""
    if signature is None:
        return {"instances": []}
    spec, defaults = signature.input, dict(signature.input.defaults)
    row: Json | None = None
    if spec.example is not None:
        row = of_schema(spec.example)
    elif spec.tensors:
        row = {one.name: zeros(one) for one in spec.tensors}
    elif spec.kind == "table" and spec.columns:
        row = {name: defaults.get(name, nearest_zero(signature, name)) for name in spec.columns}
    if row is not None:
        return {"instances": [in_order(row, order)]}
    return {"instances": [np.full(spec.shape, nearest_zero(signature)).tolist()]}


def of_schema(about: ExampleSpec) -> Json:
    """A value for each field that a client fills in."""
    schema = Schema.model_validate_json(about.schema)
    return {name: VALUES[field.kind](field) for name, field in schema.inputs.items()}


def zeros(spec: TensorSpec) -> Any:
    """A tensor to begin with; a ragged one of length 1."""
    value = nearest_of(number_of(spec.dtype, *([spec.value_range] if spec.value_range is not None else [])))
    return np.full((1, *spec.shape) if spec.ragged else spec.shape, value).tolist()


def nearest_zero(signature: Signature, column: str = "") -> float:
    """Of the values that are taken."""
    return nearest_of(number(signature, column))


def nearest_of(bounds: Json) -> float:
    """The number within these bounds that is nearest to zero."""
    nearest: float = min(max(0, bounds["minimum"]), bounds["maximum"])
    return nearest


def _number(field: Field) -> float:
    low, high = field.minimum, field.maximum
    found = max(0.0, low) if isinstance(low, int | float) else 0.0
    found = min(found, high) if isinstance(high, int | float) else found
    return int(found) if float(found).is_integer() else found


def _time(field: Field) -> str:
    bounds = [one for one in (field.minimum, field.maximum) if isinstance(one, str)]
    return bounds[0] if bounds else example_of(ISO)


@cache
def _picture() -> str:
    sink = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (128, 128, 128)).save(sink, "PNG")
    return base64.b64encode(sink.getvalue()).decode()


@cache
def _sound() -> str:
    sink = io.BytesIO()
    with wave.open(sink, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(HERTZ)
        out.writeframes((np.sin(np.arange(SAMPLES) / 5) * 9000).astype("<i2").tobytes())
    return base64.b64encode(sink.getvalue()).decode()


VALUES: Mapping[Kind, Callable[[Field], Any]] = {
    "number": _number,
    "category": lambda field: field.values[0] if field.values else "a",
    "text": lambda _: "a text",
    "letters": lambda field: (field.letters or "A")[:MOST_LETTERS],
    "entity": lambda _: "1",
    "time": _time,
    "image": lambda _: _picture(),
    "audio": lambda _: _sound(),
    "tensor": lambda field: np.zeros(field.shape or ()).tolist(),
}
