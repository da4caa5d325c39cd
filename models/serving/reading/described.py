"""How OpenAPI tells of the bodies that are not JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.field_order import in_order
from mlratchet.models.serving.reading.as_form import NPY
from mlratchet.models.serving.reading.limits import most_instances
from mlratchet.models.serving.reading.media import ARROW, CSV, FORM, JSON, media_types
from mlratchet.models.serving.reading.parts import FILE_KINDS, ClientField, client_fields

Json = dict[str, Any]
BINARY: Json = {"type": "string", "format": "binary"}


def other_bodies(signature: Signature, order: Sequence[str] = ()) -> dict[str, Json]:
    """By media type; fields stand in this order."""
    fields = in_order(client_fields(signature), order)
    return {media: _described(media, signature, fields) for media in media_types(signature) if media != JSON}


def _described(media: str, signature: Signature, fields: dict[str, ClientField]) -> Json:
    most = most_instances(signature)
    if media == CSV:
        words = f"a header with {', '.join(fields)}, and at most {most} rows; an empty cell is not given"
        return {"schema": {"type": "string", "description": words}}
    if media == FORM:
        return {"schema": _form(fields)}
    told = {
        NPY: f"an array of numbers in numpy's format 1.0 or 2.0: at most {most} rows, or one",
        ARROW: f"a table with the columns {', '.join(fields)}, at most {most} rows; not compressed, no dictionaries",
    }
    return {"schema": {**BINARY, "description": told.get(media, "one file is one example")}}


def _form(fields: dict[str, ClientField]) -> Json:
    return {
        "type": "object",
        "required": [name for name, field in fields.items() if field.needed],
        "additionalProperties": False,
        "properties": {name: _part(field) for name, field in fields.items()},
    }


def _part(field: ClientField) -> Json:
    if field.kind in FILE_KINDS:
        return BINARY
    if field.kind == "number":
        return {"type": "number"}
    return (
        {"type": "string", "description": f"nested lists as JSON, or a part of {NPY}"}
        if field.kind == "tensor"
        else {"type": "string"}
    )
