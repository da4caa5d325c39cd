"""Requests: what a client may send, and which field is wrong when it may not."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.errors import RatchetError
from mlratchet.models.serving.examples import prepared_rows
from mlratchet.models.serving.named import example_of
from mlratchet.models.serving.numbers import row_of
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import MAX_ROW_BYTES, WORDS, check_count
from mlratchet.models.serving.reading.media import read_request
from mlratchet.models.serving.refusal import BadRequestError, RowPlace
from mlratchet.models.sources.decoding import AS_DECLARED, FORMATS, decode_image
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import ONE, TensorSpec
from mlratchet.models.workloads.examples import ExamplePreparer
from PIL import Image


def parse_request(
    body: bytes, signature: Signature, preparer: ExamplePreparer | None = None, content_type: str | None = None
) -> Inputs:
    """The rows of a request. `preparer`: of a version that prepares in a child; `content_type`: None: JSON. Raises
    ``BadRequestError``."""
    return rows_of_content(read_request(body, signature, content_type), signature, preparer=preparer)


def rows_of_content(
    content: RequestContent, signature: Signature, *, preparer: ExamplePreparer | None = None
) -> Inputs:
    """The rows of what a request holds. Raises ``BadRequestError`` with the field as the client named it."""
    if content.rows is not None:
        return content.rows
    with content.told():
        return rows_of(content.instances, signature, preparer=preparer)


def rows_of(instances: Any, signature: Signature, *, first: int = 0, preparer: ExamplePreparer | None = None) -> Inputs:
    """The rows of a list of instances, as JSON holds them. `first`: the number of the first one, for what is wrong;
    `preparer` as for `parse_request`.

    Raises ``BadRequestError``."""
    check_count(instances, signature)
    if signature.input.example is not None:
        return _within(prepared_rows(instances, signature.input.example, first=first, preparer=preparer))
    if signature.input.tensors:
        return _named_rows(instances, signature.input.tensors, first)
    _refuse_too_many_pixels(instances, (signature.input.decoding or AS_DECLARED).max_pixels)
    rows = [_row(value, f"instances[{number}]", signature) for number, value in enumerate(instances, first)]
    return Inputs({ONE: np.stack(rows) if len(rows) > 1 else rows[0][None]})


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


def _decoded(text: Any, field: str) -> bytes:
    if not isinstance(text, str):
        raise BadRequestError(field, f"got {type(text).__name__}, expected base64 text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise BadRequestError(field, f"not base64: {exc}") from exc


def _refuse_too_many_pixels(instances: list[Any], most: int) -> None:
    """A picture's file says how large it is before it is decoded: what all of a request would take is bounded."""
    if len(instances) == 1:
        return  # decoding bounds one
    total = 0
    for number, value in enumerate(instances):
        told = value.get("image_base64") if isinstance(value, dict) else None
        if isinstance(told, str | bytes):
            total += _pixels(told)
            if total > most:
                raise BadRequestError(
                    f"instances[{number}].image_base64",
                    f"more than {most} pixels in one request; send fewer",
                    413,
                )


def _pixels(told: str | bytes) -> int:
    """0 for what is no picture: decoding says why."""
    try:
        data = told if isinstance(told, bytes) else base64.b64decode(told, validate=True)
        return math.prod(Image.open(io.BytesIO(data), formats=FORMATS).size)
    except Exception:  # noqa: BLE001 - whatever Pillow raises at a hostile file; decoding names it
        return 0


def _image(told: Any, field: str, signature: Signature) -> np.ndarray[Any, Any]:
    """Base64 as JSON has it, or the bytes of a file that came as one."""
    data = told if isinstance(told, bytes) else _decoded(told, field)
    channels, height, width = signature.input.shape
    how = signature.input.decoding or AS_DECLARED
    try:
        return decode_image(data, height=height, width=width, channels=channels, where=field, how=how)
    except RatchetError as error:
        raise BadRequestError(field, str(error)) from error
    except Exception as error:  # whatever a decoder raises at a client's bytes, it is the client's field
        raise BadRequestError(field, f"cannot be read as an image: {type(error).__name__}") from error
