"""Requests: what a client may send, and which field is wrong when it may not."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import orjson
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import RatchetError
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.sources.decoding import AS_DECLARED, decode_image
from mlratchet.models.sources.record import InputSpec

MAX_INSTANCES = 4096


class BadRequestError(Exception):
    """A 4xx: `status`, the `field` that is wrong, and what was expected."""

    def __init__(self, field: str, message: str, status: int = 422) -> None:
        super().__init__(f"{field}: {message}")
        self.status, self.field, self.message = status, field, message


def parse_request(body: bytes, signature: Signature) -> np.ndarray[Any, Any]:
    """The rows of a request, (rows, *input shape). Raises ``BadRequestError``."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise BadRequestError("body", f"not JSON: {exc}", 400) from exc
    if not isinstance(document, dict):
        raise BadRequestError("body", "expected an object with the field instances")
    unknown = sorted(set(document) - {"instances"})
    if unknown:
        raise BadRequestError(unknown[0][:100], "unknown field; expected instances alone")
    instances = document.get("instances")
    if not isinstance(instances, list) or not instances:
        raise BadRequestError("instances", "expected a list of at least one instance")
    if len(instances) > MAX_INSTANCES:
        raise BadRequestError("instances", f"got {len(instances)}, expected at most {MAX_INSTANCES}", 413)
    rows = [_row(value, f"instances[{number}]", signature) for number, value in enumerate(instances)]
    return np.stack(rows)


def _row(value: Any, field: str, signature: Signature) -> np.ndarray[Any, Any]:
    spec = signature.input
    if isinstance(value, dict):
        if spec.kind == "image" and set(value) == {"image_base64"}:
            return _image(value["image_base64"], f"{field}.image_base64", signature)
        if spec.kind == "table":
            value = dict(spec.defaults) | value
            missing = [name for name in spec.columns if name not in value]
            extra = sorted(set(value) - set(spec.columns))
            if missing or extra:
                name = missing[0] if missing else extra[0]
                raise BadRequestError(f"{field}.{name}"[:200], "missing column" if missing else "unknown column")
            value = [value[name] for name in spec.columns]
        else:
            expected = "image_base64 or a list of values" if spec.kind == "image" else "a list of values"
            raise BadRequestError(field, f"expected {expected}")
    value = _lengthened(value, spec)
    _only_numbers(value, field)
    try:
        row = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError, OverflowError) as exc:
        raise BadRequestError(field, f"ragged or not numeric, expected shape {list(spec.shape)}") from exc
    if row.shape != spec.shape:
        raise BadRequestError(field, f"got shape {list(row.shape)}, expected {list(spec.shape)}")
    if not np.isfinite(row).all():
        raise BadRequestError(field, "holds NaN or infinity")
    span = spec.value_range
    if span is not None and (row.min() < span[0] or row.max() > span[1]):
        raise BadRequestError(field, f"values from {row.min():g} to {row.max():g}, expected {span[0]:g} to {span[1]:g}")
    with np.errstate(over="ignore"):
        cast = row.astype(spec.dtype)
    if np.issubdtype(cast.dtype, np.floating) and not np.isfinite(cast).all():
        raise BadRequestError(field, f"a value is too large for {spec.dtype}")
    return cast


def _lengthened(value: Any, spec: InputSpec) -> Any:
    """A shorter list of a table's values with the defaults of the columns after it, where all of those have one."""
    defaults = dict(spec.defaults)
    if not defaults or not isinstance(value, list) or not 0 < len(value) < len(spec.columns):
        return value
    later = spec.columns[len(value) :]
    return value + [defaults[name] for name in later] if all(name in defaults for name in later) else value


def _only_numbers(value: Any, field: str) -> None:
    """Text and booleans are not numbers, whatever numpy makes of them."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            _only_numbers(item, f"{field}[{number}]")
    elif isinstance(value, bool) or not isinstance(value, int | float):
        kind = "null" if value is None else type(value).__name__
        raise BadRequestError(field, f"got {kind}, expected a number")


def _image(text: Any, field: str, signature: Signature) -> np.ndarray[Any, Any]:
    if not isinstance(text, str):
        raise BadRequestError(field, f"got {type(text).__name__}, expected base64 text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadRequestError(field, f"not base64: {exc}") from exc
    channels, height, width = signature.input.shape
    how = signature.input.decoding or AS_DECLARED
    try:
        return decode_image(data, height=height, width=width, channels=channels, where=field, how=how)
    except RatchetError as error:
        raise BadRequestError(field, str(error)) from error


def prediction(signature: Signature | None) -> dict[str, Any]:
    """The JSON schema of one prediction."""
    if signature is None:
        return {"type": "object"}
    properties = objective_of(signature.task).answer_schema(signature.classes)
    return {"type": "object", "required": list(properties), "properties": properties}


def openapi(name: str, signature: Signature | None) -> dict[str, Any]:
    """The OpenAPI 3.1 description of a server."""
    values: dict[str, Any] = {"type": "array", "description": "numbers, nested as the model's input shape"}
    if signature is not None:
        values["description"] = f"numbers of shape {list(signature.input.shape)}"
    image = {
        "type": "object",
        "required": ["image_base64"],
        "properties": {"image_base64": {"type": "string", "contentEncoding": "base64"}},
    }
    kinds = [values, image] if signature is None or signature.input.kind == "image" else [values]
    request = {
        "type": "object",
        "required": ["instances"],
        "additionalProperties": False,
        "properties": {"instances": {"type": "array", "minItems": 1, "items": {"oneOf": kinds}}},
    }
    reply = {
        "type": "object",
        "properties": {
            "predictions": {"type": "array", "items": prediction(signature)},
            "version": {"type": "integer"},
        },
    }
    problem = {"type": "object", "properties": {"field": {"type": "string"}, "error": {"type": "string"}}}

    def answer(words: str, schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": words, "content": {"application/json": {"schema": schema}}}

    return {
        "openapi": "3.1.0",
        "info": {"title": f"{name} (Ratchet)", "version": "1"},
        "paths": {
            "/predict": {
                "post": {
                    "summary": "Predict with the champion",
                    "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
                    "responses": {
                        "200": answer("One prediction per instance", reply),
                        "422": answer("A field is wrong", problem),
                        "503": answer("No champion is loaded yet", problem),
                    },
                }
            },
            **{
                path: {"get": {"summary": words, "responses": {"200": {"description": words}}}}
                for path, words in (
                    ("/health", "The process lives; what it serves and its last load error"),
                    ("/ready", "200 once a champion is loaded"),
                    ("/metrics", "Prometheus metrics"),
                )
            },
        },
    }
