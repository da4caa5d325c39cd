"""How OpenAPI tells of an explanation."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
NUMBER: Json = {"type": "number"}
WHOLE: Json = {"type": "integer"}


def _by_field(value: Json, words: str) -> Json:
    return {"type": "object", "additionalProperties": value, "description": words}


def _object(**properties: Json) -> Json:
    return {"type": "object", "required": list(properties), "properties": properties}


def explanation_schema(prediction: Json) -> Json:
    """Of the answer of `/explain`. `prediction`: of one prediction."""
    effect = {**NUMBER, "description": "what the quantity loses without it"}
    grid = _object(rows=WHOLE, columns=WHOLE, effects={"type": "array", "items": {"type": "array", "items": NUMBER}})
    words = {"type": "array", "items": _object(start=WHOLE, end=WHOLE, effect=effect)}
    stretches = {"type": "array", "items": _object(**{"from": NUMBER, "to": NUMBER}, effect=effect)}
    return {
        "type": "object",
        "required": ["prediction", "version", "quantity", "method"],
        "properties": {
            "prediction": prediction,
            "version": WHOLE,
            "quantity": {"type": "string", "description": "what the effects are about, in its unit"},
            "method": {"type": "string"},
            "fields": {"type": "array", "items": _object(field={"type": "string"}, effect=effect)},
            "words": _by_field(words, "of texts: parts by their characters"),
            "pixels": _by_field(grid, "of pictures: rows of places, from the top left"),
            "stretches": _by_field(stretches, "of sounds: stretches as shares of the whole"),
        },
    }
