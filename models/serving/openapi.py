"""The OpenAPI 3.1 description of a server: what it takes, by name and with limits, and all that it may answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mlratchet.models.artifact.signature import Signature
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.serving.config import MOST_BYTES, ServingConfig
from mlratchet.models.serving.deadline import HEADER, LONGEST_MS
from mlratchet.models.serving.described_numbers import number, number_of
from mlratchet.models.serving.examples import example_schema
from mlratchet.models.serving.explaining.described import explanation_schema
from mlratchet.models.serving.feedback import FEEDBACK, LABEL_CHARACTERS
from mlratchet.models.serving.feedback import MOST_BYTES as MOST_FEEDBACK_BYTES
from mlratchet.models.serving.field_order import described_in_order
from mlratchet.models.serving.first_example import first_example
from mlratchet.models.serving.reading.described import other_bodies
from mlratchet.models.serving.reading.limits import MAX_INSTANCES, most_instances
from mlratchet.models.serving.reading.media import JSON
from mlratchet.models.tensors.spec import TensorSpec

Json = dict[str, Any]
ANY_NUMBERS: Json = {"type": "array", "description": "numbers, nested as the model's input shape"}
REFUSALS = {
    "400": "The body is not JSON",
    "401": "A token is needed, or this is none",
    "403": "The token has not the scope predict, or a page of another site asks",
    "408": "The request did not arrive in time",
    "413": "The request is too large",
    "415": "The content type is none in which this model's examples are told, or the body is packed",
    "421": "The Host is not a name of this server",
    "422": "A field is wrong",
    "500": "The model or the server failed; the id stands in the log",
    "504": "There was no answer within x-timeout-ms",
}


def prediction(signature: Signature | None, answer_schema: Mapping[str, Any] | None = None) -> Json:
    """The JSON schema of one prediction. `answer_schema`: the objective's, where it was asked before."""
    if signature is None:
        return {"type": "object"}
    properties = dict(answer_schema or objective_of(signature.task).answer_schema(signature.classes))
    return {"type": "object", "required": list(properties), "properties": properties}


def nested(value: Json, shape: tuple[int, ...]) -> Json:
    """The JSON schema of lists of values, nested as `shape`."""
    if not shape:
        return value
    return {"type": "array", "minItems": shape[0], "maxItems": shape[0], "items": nested(value, shape[1:])}


def tensor(spec: TensorSpec) -> Json:
    """The JSON schema of one tensor of an instance; a ragged one has any length."""
    within = [spec.value_range] if spec.value_range is not None else []
    values = nested(number_of(spec.dtype, *within), spec.shape)
    return {"type": "array", "items": values} if spec.ragged else values


def row_of_tensors(specs: Sequence[TensorSpec]) -> Json:
    """Every input by its name."""
    return {
        "type": "object",
        "required": [spec.name for spec in specs],
        "additionalProperties": False,
        "properties": {spec.name: tensor(spec) for spec in specs},
    }


def instance(signature: Signature | None, order: Sequence[str] = ()) -> Json:
    """The JSON schema of one instance, in every form that it may have; its fields in this order."""
    return described_in_order(_instance(signature), order) if signature is not None else ANY_NUMBERS


def _instance(signature: Signature) -> Json:
    spec = signature.input
    if spec.kind == "table" and spec.columns:
        return {"oneOf": [row_by_name(signature), row_by_position(signature)]}
    if spec.example is not None:
        return example_schema(spec.example)
    if spec.tensors:
        return row_of_tensors(spec.tensors)
    values = {**nested(number(signature), spec.shape), "description": f"numbers of shape {list(spec.shape)}"}
    if spec.kind != "image":
        return values
    picture = {
        "type": "object",
        "required": ["image_base64"],
        "additionalProperties": False,
        "properties": {
            "image_base64": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "the bytes of a picture's file (PNG, JPEG, ...); it is resized",
            }
        },
    }
    return {"oneOf": [values, picture]}


def row_by_name(signature: Signature) -> Json:
    """Columns in any order; those with a default may be left out."""
    defaults = dict(signature.input.defaults)
    properties = {
        name: number(signature, name) | ({"default": defaults[name]} if name in defaults else {})
        for name in signature.input.columns
    }
    return {
        "type": "object",
        "required": [name for name in signature.input.columns if name not in defaults],
        "additionalProperties": False,
        "properties": properties,
    }


def row_by_position(signature: Signature) -> Json:
    """In the order of the columns; the last may be left out where all of them have a default."""
    columns, defaults = signature.input.columns, dict(signature.input.defaults)
    least = max((at + 1 for at, name in enumerate(columns) if name not in defaults), default=1)
    return {
        "type": "array",
        "description": f"values of {', '.join(columns)}, in this order",
        "minItems": least,
        "maxItems": len(columns),
        "prefixItems": [number(signature, name) for name in columns],
        "items": False,
    }


def request(signature: Signature | None, order: Sequence[str], most: int | None = None) -> Json:
    """The JSON schema of a body: many instances (at most so many; None: as a request may hold), or one that stands for
    itself."""
    listed = many(signature, order, most)
    return {"anyOf": [listed, one_alone(signature, order)]} if signature is not None else listed


def one_alone(signature: Signature, order: Sequence[str]) -> Json:
    """An instance that is told from a list of them: an object has at least one field, a list one value."""
    described = instance(signature, order)
    forms = [{**one, **AT_LEAST_ONE[one["type"]]} for one in described.get("oneOf", [described])]
    return {"oneOf": forms} if len(forms) > 1 else forms[0]


AT_LEAST_ONE: Json = {"object": {"minProperties": 1}, "array": {}}


def many(signature: Signature | None, order: Sequence[str], most: int | None = None) -> Json:
    """The JSON schema of a list of instances."""
    instances: Json = {"type": "array", "minItems": 1, "items": instance(signature, order)}
    if signature is not None:
        instances["maxItems"] = most or most_instances(signature)
    return {
        "type": "object",
        "required": ["instances"],
        "additionalProperties": False,
        "properties": {"instances": instances},
    }


PROBLEM: Json = {
    "type": "object",
    "required": ["field", "error"],
    "properties": {
        "field": {"type": "string", "description": "which part of the request is wrong, such as instances[0].price"},
        "error": {"type": "string"},
        "request_id": {"type": "string"},
    },
}
HEALTH: Json = {
    "type": "object",
    "required": ["pipeline", "version", "generation", "load_error", "server_errors"],
    "properties": {
        "pipeline": {"type": "string"},
        "version": {"type": ["integer", "null"], "description": "what is served"},
        "generation": {"type": ["integer", "null"], "description": "its entry in the ledger"},
        "load_error": {"type": "string", "description": "why a newer champion is not served"},
        "next_try_in_s": {"type": ["number", "null"]},
        "server_errors": {
            "type": "object",
            "required": ["count", "last", "unavailable"],
            "properties": {
                "count": {"type": "integer"},
                "last": {"type": ["object", "null"]},
                "unavailable": {"type": "integer", "description": "answers of 503"},
            },
        },
    },
}
READY: Json = {
    "type": "object",
    "required": ["ready"],
    "properties": {
        "ready": {"type": "boolean"},
        "version": {"type": "integer"},
        "reason": {"type": "string"},
        "behind": {"type": "string", "description": "why a newer champion is not served"},
    },
}


PARAMETERS: list[Json] = [
    {
        "name": HEADER,
        "in": "header",
        "description": "until when the answer is wanted: it is not computed afterwards",
        "schema": {"type": "integer", "minimum": 1, "maximum": LONGEST_MS},
    },
]


RETRY: Json = {"retry-after": {"schema": {"type": "integer"}, "description": "seconds"}}


def answer(words: str, schema: Json, headers: Json | None = None) -> Json:
    """One of the responses of an operation."""
    described: Json = {"x-request-id": {"schema": {"type": "string"}}, **(headers or {})}
    return {"description": words, "headers": described, "content": {"application/json": {"schema": schema}}}


def _refused(*statuses: str, needs: str) -> Json:
    told = {**REFUSALS, "403": f"The token has not the scope {needs}"}
    return {status: answer(told[status], PROBLEM) for status in ("401", "403", "421", "500", *statuses)}


LABEL: Json = {
    "type": "object",
    "required": ["request_id", "label"],
    "additionalProperties": False,
    "properties": {
        "request_id": {"type": "string", "pattern": "^[0-9a-f]{32}$", "description": "x-request-id of the answer"},
        "row": {"type": "integer", "minimum": 0, "maximum": MAX_INSTANCES - 1, "default": 0},
        "label": {
            "description": "what is true of that instance",
            "anyOf": [
                {"type": "string", "minLength": 1, "maxLength": LABEL_CHARACTERS},
                {"type": "number"},
                {"type": "boolean"},
            ],
        },
    },
}
LABELS: Json = {
    "type": "object",
    "required": ["labels"],
    "additionalProperties": False,
    "properties": {"labels": {"type": "array", "minItems": 1, "maxItems": MAX_INSTANCES, "items": LABEL}},
}
OPERATIONS: dict[str, Json] = {
    FEEDBACK: {
        "summary": "Tell what turned out to be true of answers",
        "description": f"At most {MOST_FEEDBACK_BYTES} bytes. Nothing is said about whether the requests are known.",
        "operationId": "feedback",
        "security": [{"token": []}],
        "requestBody": {"required": True, "content": {JSON: {"schema": {"anyOf": [LABELS, LABEL]}}}},
        "responses": {
            "202": answer("They are on their way to the log", {
                "type": "object", "required": ["accepted"], "properties": {"accepted": {"type": "integer"}},
            }),
            **_refused("408", "413", "422", needs="feedback"),
            "503": answer("There is no room for labels", PROBLEM, RETRY),
        },
    },
    "/reload": {
        "summary": "Look at the ledger now",
        "description": "A champion that could not be loaded is tried at once; /health says what came of it.",
        "operationId": "reload",
        "security": [{"token": []}],
        "responses": {
            "202": answer("It is being looked at", {
                "type": "object", "required": ["version", "looking"],
                "properties": {"version": {"type": ["integer", "null"]}, "looking": {"type": "boolean"}},
            }),
            **_refused(needs="admin"),
        },
    },
}  # fmt: skip
"""Of paths that not every server has."""


def openapi(
    name: str,
    signature: Signature | None,
    config: ServingConfig,
    answer_schema: Mapping[str, Any] | None = None,
    also: Collection[str] = (),
) -> Json:
    """The whole description. `answer_schema`: see `prediction`; `also`: paths that not every server has."""
    version: Json = {"x-model-version": {"schema": {"type": "string"}, "description": "who answered"}}
    reply = {
        "type": "object",
        "required": ["predictions", "version"],
        "properties": {
            "predictions": {"type": "array", "items": prediction(signature, answer_schema)},
            "version": {"type": "integer"},
        },
    }
    busy = answer("No champion is loaded yet, or too many requests are waiting", PROBLEM, version | RETRY)
    order = config.form
    others = other_bodies(signature, order) if signature is not None else {}
    in_json = {"schema": request(signature, order), "example": first_example(signature, order)}
    content = {JSON: in_json, **others}
    predict: Json = {
        "summary": "Predict with the champion",
        MOST_BYTES: config.max_request_bytes,
        "description": f"At most {config.max_request_bytes} bytes, within {config.read_seconds:g} s.",
        "operationId": "predict",
        "security": [{}, {"token": []}],
        "parameters": PARAMETERS,
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": answer("One prediction per instance", reply, version),
            **{status: answer(words, PROBLEM) for status, words in REFUSALS.items()},
            "503": busy,
        },
    }

    why = explanation_schema(prediction(signature, answer_schema))
    explain = {
        **predict,
        "summary": "Explain the prediction for one example",
        "operationId": "explain",
        "requestBody": {
            "required": True,
            "content": {JSON: {**in_json, "schema": request(signature, order, most=1)}, **others},
        },
        "responses": {**predict["responses"], "200": answer("What adds to the prediction", why, version)},
    }

    def page(words: str, operation: str, responses: Json) -> Json:
        refused = answer(REFUSALS["421"], PROBLEM)
        return {"get": {"summary": words, "operationId": operation, "responses": {**responses, "421": refused}}}

    return {
        "openapi": "3.1.0",
        "info": {"title": f"{name} (Ratchet)", "version": "1"},
        "servers": [{"url": f"/{name}"}],
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "paths": {
            "/predict": {"post": predict},
            "/explain": {"post": explain},
            **{path: {"post": operation} for path, operation in OPERATIONS.items() if path in also},
            "/health": page("Alive, and what it serves", "health", {"200": answer("Facts", HEALTH)}),
            "/ready": page(
                "Whether a champion is loaded",
                "ready",
                {"200": answer("It is", READY), "503": answer("It is not", READY, RETRY)},
            ),
        },
    }
