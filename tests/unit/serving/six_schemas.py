"""A version over each of six schemas, untrained, as a server has it: what each takes, and an example of it."""

from __future__ import annotations

import base64
import io
import struct
import wave
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from mlratchet.models.artifact.signature import signature_of
from mlratchet.models.preparation.composed import PreparationPlan
from mlratchet.models.schema.fields import Schema
from mlratchet.models.schema.request import parse_examples
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.tensors.batch import asked_by_name
from mlratchet.models.workloads.fields import SchemaWorkload
from PIL import Image

YES_OR_NO = {"kind": "category", "values": ["no", "yes"]}


def png(size: tuple[int, int] = (12, 9), grey: int = 200) -> bytes:
    """A picture's file."""
    sink = io.BytesIO()
    Image.new("RGB", size, (grey, 30, 90)).save(sink, "PNG")
    return sink.getvalue()


def wav(seconds: float = 0.3, hertz: int = 8000) -> bytes:
    """A sound's file."""
    sink = io.BytesIO()
    with wave.open(sink, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(hertz)
        out.writeframes(b"".join(struct.pack("<h", (at * 700) % 20000) for at in range(int(seconds * hertz))))
    return sink.getvalue()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One schema and one example of it, as JSON sends it."""

    fields: dict[str, Any]
    example: dict[str, Any]


KINDS = {
    "shop": Kind(
        fields={
            "size": {"kind": "number", "nullable": True, "minimum": 0, "maximum": 100, "unit": "cm"},
            "town": {"kind": "category", "values": ["Lund", "Malmö"]},
            "note": {"kind": "text"},
            "day": {"kind": "time", "nullable": True},
        },
        example={"size": 3.5, "town": "Lund", "note": "a very good thing", "day": "2026-03-01T00:00:00Z"},
    ),
    "picture": Kind(fields={"photo": {"kind": "image"}}, example={"photo": base64.b64encode(png()).decode()}),
    "text": Kind(fields={"review": {"kind": "text"}}, example={"review": "a very good thing"}),
    "sound": Kind(fields={"clip": {"kind": "audio"}}, example={"clip": base64.b64encode(wav()).decode()}),
    "ratings": Kind(
        fields={"user": {"kind": "entity"}, "film": {"kind": "entity"}}, example={"user": "u1", "film": "f2"}
    ),
    "letters": Kind(fields={"bases": {"kind": "letters", "alphabet": "dna"}}, example={"bases": "ACGTNACGT"}),
    "tensor": Kind(fields={"signal": {"kind": "tensor", "shape": [2, 3]}}, example={"signal": [[1, 2, 3], [4, 5, 6]]}),
}


@cache
def predictor_of(name: str) -> Predictor:
    """Of one of them."""
    return predictor_over(KINDS[name])


def predictor_over(kind: Kind) -> Predictor:
    """Fitted to a few examples; its weights are those of a new network."""
    schema = {"fields": {**kind.fields, "left": YES_OR_NO}, "label": "left"}
    known = Schema.model_validate(schema)
    table = parse_examples([kind.example] * 8, known)
    fitted = PreparationPlan(known).fit(lambda: iter([table])).to_bytes()
    workload = SchemaWorkload(schema=schema, fitted=base64.b64encode(fitted).decode())
    torch.manual_seed(0)
    model = asked_by_name(workload.prepared_model().eval(), workload.tensors())
    return Predictor(version=1, generation=1, signature=signature_of(workload), model=model)
