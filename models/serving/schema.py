"""Requests: what a client may send, and which field is wrong when it may not."""

from __future__ import annotations

import base64
import binascii
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import orjson
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import RatchetError
from mlratchet.models.serving.examples import prepared_rows
from mlratchet.models.serving.named import example_of
from mlratchet.models.serving.numbers import row_of
from mlratchet.models.serving.refusal import BadRequestError, RowPlace
from mlratchet.models.sources.decoding import AS_DECLARED, FORMATS, decode_image
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import ONE, TensorSpec
from PIL import Image

MAX_INSTANCES = 4096
MAX_ROW_BYTES = 64_000_000  # of all rows of a request as the model takes them: a few kB of pictures can be gigabytes
WORDS = 200  # characters of a client's own words that an answer repeats


def most_instances(signature: Signature) -> int:
    """How many instances one request may hold."""
    spec = signature.input
    row_bytes = sum(one.row_bytes for one in spec.specs)
    return max(1, min(MAX_INSTANCES, MAX_ROW_BYTES // max(1, row_bytes)))


def parse_request(body: bytes, signature: Signature) -> Inputs:
    """The rows of a request. Raises ``BadRequestError``."""
    return rows_of(instances_of_request(body), signature)


def instances_of_request(body: bytes) -> Any:
    """What a request asks about, as JSON holds it. Raises ``BadRequestError`` for a body that is no such object."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise _unreadable(body, exc) from exc
    if not isinstance(document, dict):
        raise BadRequestError("body", "expected an object with the field instances")
    unknown = sorted(set(document) - {"instances"})
    if unknown:
        raise BadRequestError(unknown[0][:WORDS], "unknown field; expected instances alone")
    return document.get("instances")


def rows_of(instances: Any, signature: Signature, *, first: int = 0) -> Inputs:
    """The rows of a list of instances, as JSON holds them. `first`: the number of the first one, for what is wrong.

    Raises ``BadRequestError``."""
    check_count(instances, signature)
    if signature.input.example is not None:
        return _within(prepared_rows(instances, signature.input.example, first=first))
    if signature.input.tensors:
        return _named_rows(instances, signature.input.tensors, first)
    _refuse_too_many_pixels(instances, (signature.input.decoding or AS_DECLARED).max_pixels)
    rows = [_row(value, f"instances[{number}]", signature) for number, value in enumerate(instances, first)]
    return Inputs({ONE: np.stack(rows) if len(rows) > 1 else rows[0][None]})


def check_count(instances: Any, signature: Signature) -> None:
    """Raises ``BadRequestError`` for what is no list of as many instances as a request may hold."""
    if not isinstance(instances, list) or not instances:
        raise BadRequestError("instances", "expected a list of at least one instance")
    most = most_instances(signature)
    if len(instances) > most:
        raise BadRequestError("instances", f"got {len(instances)}, expected at most {most}")


def _named_rows(instances: list[Any], tensors: Sequence[TensorSpec], first: int) -> Inputs:
    examples = [example_of(value, f"instances[{number}]", tensors) for number, value in enumerate(instances, first)]
    return _within(Inputs.stack(examples, tensors))


def _within(rows: Inputs) -> Inputs:
    """Raises ``BadRequestError`` for rows that would be too much memory together."""
    if len(rows) * rows.padded_row_bytes > MAX_ROW_BYTES:
        words = (
            f"{len(rows)} rows, each as long as the longest, are more than {MAX_ROW_BYTES} bytes; send fewer at once"
        )
        raise BadRequestError("instances", words, 413)
    return rows


def _unreadable(body: bytes, reason: Exception) -> BadRequestError:
    """The number that is no finite one, if that is all that is wrong; else what the parser said."""
    with suppress(ValueError, RecursionError):
        for field, number in _numbers(json.loads(body), ""):
            if not is_finite(number):
                return BadRequestError(field[:WORDS] or "body", f"got {str(number)[:20]}, expected a finite number")
    return BadRequestError("body", f"not JSON: {reason}"[:WORDS], 400)


def is_finite(number: float) -> bool:
    """Whether it is a number that 64 bits can hold."""
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number with hundreds of digits
        return False


def _numbers(value: Any, field: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for name, item in value.items():
            known = name.encode(errors="replace").decode()  # half a surrogate cannot be answered with
            yield from _numbers(item, f"{field}.{known}" if field else known)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _numbers(item, f"{field}[{number}]")
    elif isinstance(value, int | float):
        yield field, value


def _row(value: Any, field: str, signature: Signature) -> np.ndarray[Any, Any]:
    spec = signature.input
    named = isinstance(value, dict)
    if named:
        if spec.kind == "image" and set(value) == {"image_base64"}:
            return _image(value["image_base64"], f"{field}.image_base64", signature)
        if spec.kind != "table":
            expected = "image_base64 or a list of values" if spec.kind == "image" else "a list of values"
            raise BadRequestError(field, f"got an object, expected {expected}")
        value = _in_order(value, field, spec)
    place = RowPlace(field, spec.columns if named else ())
    return row_of(_lengthened(value, spec), signature, place)


def _in_order(row: dict[str, Any], field: str, spec: InputSpec) -> list[Any]:
    """The values of a row by name, in the order of the columns."""
    row = dict(spec.defaults) | row
    missing = [name for name in spec.columns if name not in row]
    extra = sorted(set(row) - set(spec.columns))
    if missing or extra:
        name = missing[0] if missing else extra[0]
        raise BadRequestError(f"{field}.{name}"[:WORDS], "missing column" if missing else "unknown column")
    return [row[name] for name in spec.columns]


def _lengthened(value: Any, spec: InputSpec) -> Any:
    """A shorter list of a table's values with the defaults of the columns after it, where all of those have one."""
    defaults = dict(spec.defaults)
    if not defaults or not isinstance(value, list) or not 0 < len(value) < len(spec.columns):
        return value
    later = spec.columns[len(value) :]
    return value + [defaults[name] for name in later] if all(name in defaults for name in later) else value


def _refuse_too_many_pixels(instances: list[Any], most: int) -> None:
    """A picture's file says how large it is before it is decoded: what all of a request would take is bounded."""
    if len(instances) == 1:
        return  # decoding bounds one
    total = 0
    for number, value in enumerate(instances):
        text = value.get("image_base64") if isinstance(value, dict) else None
        if isinstance(text, str):
            total += _pixels(text)
            if total > most:
                raise BadRequestError(
                    f"instances[{number}].image_base64",
                    f"more than {most} pixels in one request; send fewer",
                    413,
                )


def _pixels(text: str) -> int:
    """0 for what is no picture: decoding says why."""
    try:
        return math.prod(Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=FORMATS).size)
    except Exception:  # noqa: BLE001 - whatever Pillow raises at a hostile file; decoding names it
        return 0


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
    except Exception as error:  # whatever a decoder raises at a client's bytes, it is the client's field
        raise BadRequestError(field, f"cannot be read as an image: {type(error).__name__}") from error
