"""The contract with clients: requests replayed through the code that serves.

Three kinds: rows whose answer is known (the recorded outputs of the trained module), requests that the champion's
clients send (stored with its version: they must still be answered), and requests that must be refused.

Shape legend: N rows.
"""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import torch
from mlratchet.models.artifact.signature import Signature, signature_of
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import DataError
from mlratchet.models.gates.evidence import column_failure
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.objectives.naming import objective_of
from mlratchet.models.ports.storage import ObjectExists, ObjectStore
from mlratchet.models.schema.fields import Schema
from mlratchet.models.serving.config import ServingConfig
from mlratchet.models.serving.examples import refused_examples
from mlratchet.models.serving.named import bad_examples
from mlratchet.models.serving.predictor import Predictor, predictions_of
from mlratchet.models.serving.refusal import BadRequestError
from mlratchet.models.serving.schema import parse_request
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.batch import Model, batch_of
from mlratchet.models.tensors.named import Inputs, misfit
from mlratchet.models.workloads.base import Workload
from PIL import Image

Array = np.ndarray[Any, Any]
TOLERANCE = 1e-3  # largest difference of a number in an answer, relative above 1
EXAMPLES, BATCH = 8, 16  # recorded rows sent one by one; rows sent at once


class StoredRequest(StrictModel):
    """One request and what must come of it."""

    name: str
    body: str
    expect: Literal["answer", "refusal"]
    predictions: tuple[dict[str, Any], ...] | None = None
    """The answer, where it is known."""


def served_signature(workload: Workload, serving: ServingConfig) -> Signature:
    """What a pipeline's model takes and gives, and what requests may hold."""
    return signature_of(workload, serving.defaults, serving.ranges)


def contract_requests(
    signature: Signature,
    x: Inputs,
    output: Array,
    *,
    examples: int = EXAMPLES,
    instances: Sequence[Any] | None = None,
) -> list[StoredRequest]:
    """Requests of recorded rows `x` with the answers that `output` says, and requests to refuse.

    `examples` rows are sent one by one. `instances`: the rows as clients send them, where a version prepares those.
    Raises ``DataError`` when no row is finite.
    """
    finite = x.finite()  # JSON has no NaN: a client could not send the others
    sent = [one for one, good in zip(instances, finite, strict=False) if good] if instances is not None else None
    recorded, x, output = len(x), x.take(finite), output[finite]
    if not len(x):
        raise DataError(f"none of {recorded} recorded test rows is finite: there is nothing that a client could send")
    answers = predictions_of(torch.from_numpy(np.ascontiguousarray(output)).float(), signature)
    places = [slice(at, at + 1) for at in range(min(examples, len(x)))]
    places += [slice(0, min(BATCH, len(x)))] if len(x) > 1 else []
    known = [
        StoredRequest(
            name=f"rows {place.start} to {place.stop - 1}" if place.stop - place.start > 1 else f"row {place.start}",
            body=_body(sent[place] if sent is not None else instances_of(x.rows(place))),
            expect="answer",
            predictions=tuple(answers[place]),
        )
        for place in places
    ]
    row = sent[0] if sent is not None else instances_of(x.rows(slice(1)))[0]
    return known + _other_forms(signature, x, answers) + _refusals(signature, row)


def instances_of(x: Inputs) -> list[Any]:
    """The rows as a request holds them."""
    return [
        {name: one.tolist() for name, one in row.items()} if isinstance(row, Mapping) else row.tolist()
        for row in x.examples()
    ]


def _body(instances: Any) -> str:
    return json.dumps({"instances": instances})


def _other_forms(signature: Signature, x: Inputs, answers: list[dict[str, Any]]) -> list[StoredRequest]:
    """A table's row by column name; an image as a file, whose bytes are not the recorded row's: any answer will do."""
    spec = signature.input
    if spec.kind == "table" and spec.columns:
        named = dict(zip(spec.columns, x.array[0].tolist(), strict=True))
        found = StoredRequest(
            name="row 0 by column name", body=_body([named]), expect="answer", predictions=(answers[0],)
        )
        return [found]
    if spec.kind == "image":
        sink = io.BytesIO()
        Image.new("RGB" if spec.shape[0] == 3 else "L", (spec.shape[2], spec.shape[1])).save(sink, "PNG")
        encoded = base64.b64encode(sink.getvalue()).decode()
        return [StoredRequest(name="a PNG file", body=_body([{"image_base64": encoded}]), expect="answer")]
    return []


def _refusals(signature: Signature, row: Any) -> list[StoredRequest]:
    if signature.input.example is not None:
        wrong = refused_examples(row, signature.input.example)
    elif signature.input.tensors:
        wrong = bad_examples(row, signature.input.tensors)
    else:
        longer = np.zeros((*signature.input.shape[:-1], signature.input.shape[-1] + 1)).tolist()
        infinity = np.full(signature.input.shape, 1e400).tolist()
        wrong = {"a row of another shape": longer, "infinity": infinity}
    shaped = next(iter(wrong.values()))
    bodies = {
        "no rows": _body([]),
        "not JSON": "{",
        "a field that nobody asked for": json.dumps({"instances": [row], "rows": 1}),
        **{name: _body([one]).replace("Infinity", "1e400") for name, one in wrong.items()},
        "a row of text": _body(["text"]),
        "a row with null": _body([None]),
        "a good row and a bad one": _body([row, shaped]),
    }
    if signature.input.kind == "image":
        bodies["a file that is no image"] = _body([{"image_base64": base64.b64encode(b"text").decode()}])
    return [StoredRequest(name=name, body=body, expect="refusal") for name, body in bodies.items()]


def publish_requests(store: ObjectStore, requests: Sequence[StoredRequest]) -> str:
    """Keep what clients of a version may send, without answers; returns the key, `requests/<sha256>.json`, for the
    decision to name."""
    body = canonical_json([request.body for request in requests if request.expect == "answer"])
    key = f"requests/{digest_bytes(body)}.json"
    with suppress(ObjectExists):
        store.create(key, body)
    return key


def load_requests(store: ObjectStore, key: str, version: int) -> list[StoredRequest]:
    """What clients of a version may send: any other version has to answer it.

    Raises ``ObjectNotFound``, and ``DigestMismatch`` for changed ones.
    """
    bodies = json.loads(store.get(key, sha256=key.removeprefix("requests/").removesuffix(".json")))
    return [
        StoredRequest(name=f"request {number} of version {version}", body=body, expect="answer")
        for number, body in enumerate(bodies)
    ]


def replay(predictor: Predictor, requests: Sequence[StoredRequest], *, tolerance: float = TOLERANCE) -> list[str]:
    """Send every request through parsing and prediction; a line per one that did not come out as it must."""
    failures = []
    spec = predictor.signature.input
    apart = {name for request in requests for name in columns_apart(request, spec)}
    for request in requests:
        problem = _replay_one(predictor, request, tolerance)
        if problem:
            line = f"{request.name}: {problem}"
            names = columns_apart(request, spec) or (sorted(apart) if _is_short(request, spec) else ())
            failures.append(column_failure(names, line) if names else line)
    return failures


def columns_apart(request: StoredRequest, spec: InputSpec) -> list[str]:
    """Columns, or fields of a schema, that a request by name lacks without a default, or holds in vain."""
    if request.expect != "answer" or (spec.kind != "table" and spec.example is None):
        return []
    rows = [one for one in json.loads(request.body)["instances"] if isinstance(one, dict)]
    known, needed = _asked_for(spec)
    return sorted({name for row in rows for name in (needed - set(row)) | (set(row) - known)})


def _asked_for(spec: InputSpec) -> tuple[set[str], set[str]]:
    """What a row by name may hold, and what it must."""
    if spec.example is None:
        return set(spec.columns), set(spec.columns) - {name for name, _ in spec.defaults}
    inputs = Schema.model_validate_json(spec.example.schema).inputs
    return set(inputs), {name for name, field in inputs.items() if not field.nullable}


def _is_short(request: StoredRequest, spec: InputSpec) -> bool:
    """Whether a request sends rows as lists that are not as long as there are columns."""
    if request.expect != "answer" or spec.kind != "table":
        return False
    return any(isinstance(one, list) and len(one) != len(spec.columns) for one in json.loads(request.body)["instances"])


def _replay_one(predictor: Predictor, request: StoredRequest, tolerance: float) -> str:
    try:
        rows = parse_request(request.body.encode(), predictor.signature, predictor.preparer)
    except BadRequestError as error:
        return "" if request.expect == "refusal" else f"expected an answer, got {error.status}: {error}"[:300]
    if request.expect == "refusal":
        return "expected a refusal, got an answer"
    try:
        answers = predictor.predict(rows)
    except Exception as error:  # noqa: BLE001 - whatever the model raises, a client would get a 5xx: that is the finding
        return f"expected an answer, got {type(error).__name__}: {error}"[:300]
    if len(answers) != len(rows):
        return f"expected {len(rows)} predictions, got {len(answers)}"
    for number, (got, expected) in enumerate(zip(answers, request.predictions or (), strict=False)):
        problem = difference(got, expected, tolerance)
        if problem:
            return f"prediction {number}: {problem}"
    return ""


def difference(got: dict[str, Any], expected: dict[str, Any], tolerance: float) -> str:
    """How two predictions differ beyond `tolerance`, or ''. A class or label on the edge may fall to either side."""
    if set(got) != set(expected):
        return f"got fields {sorted(got)}, expected {sorted(expected)}"
    for field, value in expected.items():
        mine = got[field]
        if isinstance(value, list) and any(isinstance(one, dict | float | list) for one in value):
            problem = _other_list(mine, value, tolerance)
            if problem:
                return f"{field}{problem}"
        elif isinstance(value, dict):
            problem = difference(mine, value, tolerance)
            if problem:
                return f"{field}: {problem}"
        elif isinstance(value, float | int):
            if not math.isfinite(mine) or abs(mine - value) > tolerance * max(1.0, abs(value)):
                return f"{field}: got {mine:.6g}, expected {value:.6g}"
        elif mine != value and not _on_the_edge(mine, value, expected.get("probabilities", {}), tolerance):
            return f"{field}: got {mine}, expected {value}"
    return ""


def _other_list(got: Any, expected: list[Any], tolerance: float) -> str:
    """Of numbers, or of things with fields: one after the other."""
    if not isinstance(got, list) or len(got) != len(expected):
        return f": got {len(got) if isinstance(got, list) else got} entries, expected {len(expected)}"
    for number, (mine, value) in enumerate(zip(got, expected, strict=True)):
        problem = difference({str(number): mine}, {str(number): value}, tolerance)
        if problem:
            return f"[{number}] {problem}"
    return ""


def _on_the_edge(got: Any, expected: Any, probabilities: dict[str, float], tolerance: float) -> bool:
    if isinstance(expected, str):
        return abs(probabilities.get(got, math.inf) - probabilities.get(expected, -math.inf)) <= 2 * tolerance
    return all(abs(probabilities.get(name, math.inf) - 0.5) <= tolerance for name in set(got) ^ set(expected))


def signature_failures(model: Model, signature: Signature, x: Inputs) -> tuple[int, list[str]]:
    """How many shapes were tried, and a line for each that the exported program does not give as the signature says."""
    if signature.input.tensors:
        unfit = misfit(x, signature.tensors)
        if unfit:
            return 1, [f"signature: {unfit}"]
    elif x.array.shape[1:] != signature.input.shape or str(x.array.dtype) != signature.input.dtype:
        got = f"{x.array.dtype} of shape {list(x.array.shape[1:])}"
        return 1, [
            f"signature: rows are {got}, expected {signature.input.dtype} of shape {list(signature.input.shape)}"
        ]
    width = objective_of(signature.task).output_shapes(signature.classes)
    failures = []
    counts = sorted({1, min(3, len(x)), len(x)})
    for count in counts:
        try:
            with torch.inference_mode():
                output = model(batch_of(x.rows(slice(count))))
        except Exception as error:  # noqa: BLE001 - an exported program may raise anything; the line says what
            failures.append(f"signature: {count} rows: {type(error).__name__}: {error}"[:300])
            continue
        if output.shape[0] != count or tuple(output.shape[1:]) not in width or not output.is_floating_point():
            expected = " or ".join(str([count, *shape]) for shape in sorted(width))
            failures.append(f"signature: got {output.dtype} of shape {list(output.shape)}, expected floats {expected}")
    return len(counts), failures
