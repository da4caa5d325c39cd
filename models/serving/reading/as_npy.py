"""A body of numpy's format: the rows of a model's one tensor, as numbers and nothing else.

Its header is Python text that numpy reads as a literal; an array of objects would be a pickle, and is refused.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.numbers import ROUNDED, refuse_where
from mlratchet.models.serving.reading.content import RequestContent
from mlratchet.models.serving.reading.limits import check_number
from mlratchet.models.serving.reading.parts import client_fields
from mlratchet.models.serving.refusal import BadRequestError, RowPlace
from mlratchet.models.sources.record import InputSpec
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import ONE, takes_one

Array = np.ndarray[Any, Any]
MOST_HEADER = 4096  # bytes
READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
MOST_ITEM_BYTES = 8


def read_npy(body: bytes, signature: Signature) -> RequestContent:
    """(N, *shape), or one row of the input's shape. Raises ``BadRequestError``."""
    array = array_of(body, "body")
    shape = shape_of_one(signature)
    if shape is None:
        raise BadRequestError("body", "this model takes no array without a name", 415)
    alone = array.shape == shape
    rows = array[None] if alone else array
    if rows.shape[1:] != shape or rows.ndim != len(shape) + 1:
        expected = " x ".join(map(str, ("rows", *shape)))
        raise BadRequestError("body", f"got an array of shape {list(array.shape)}, expected {expected}"[:200])
    check_number(len(rows), signature)
    spec = signature.input
    if spec.example is not None or spec.tensors:
        name = next(iter(client_fields(signature)))
        return RequestContent(instances=[{name: row.tolist()} for row in rows], alone=alone)
    with RequestContent(alone=alone).told():
        return RequestContent(rows=Inputs({ONE: checked_rows(rows, spec, signature)}), alone=alone)


def shape_of_one(signature: Signature) -> tuple[int, ...] | None:
    """Of the one tensor that an instance is; None where it is something else."""
    spec = signature.input
    if spec.example is not None:
        fields = client_fields(signature)
        only = next(iter(fields.values()))
        return spec_shape(signature, only.name) if len(fields) == 1 and only.kind == "tensor" else None
    if spec.tensors:
        return spec.tensors[0].shape if takes_one(spec.tensors) else None
    return spec.shape


def spec_shape(signature: Signature, name: str) -> tuple[int, ...] | None:
    """Of a tensor field of the schema."""
    from mlratchet.models.schema.fields import Schema

    assert signature.input.example is not None
    return Schema.model_validate_json(signature.input.example.schema).fields[name].shape


def array_of(data: bytes, field: str) -> Array:
    """The array, as a view of the bytes. Raises ``BadRequestError`` for anything but plain numbers, as many as the
    header says."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = READERS.get(version)
        if read is None:
            raise ValueError(f"version {version[0]}.{version[1]}, expected 1.0 or 2.0")
        shape, by_column, kind = read(stream, max_header_size=MOST_HEADER)
    except Exception as error:
        why = str(error) or type(error).__name__
        raise BadRequestError(field, f"not in numpy's format: {why}"[:200], 400) from error
    if kind.kind not in "iuf" or kind.itemsize > MOST_ITEM_BYTES:
        raise BadRequestError(field, f"got an array of {kind!s}, expected integers or floats of at most 64 bits"[:200])
    size, rest = math.prod(shape), len(data) - stream.tell()
    if any(one < 0 for one in shape) or size * kind.itemsize != rest:
        words = f"the header says {size * kind.itemsize} bytes of shape {list(shape)}, got {rest}"
        raise BadRequestError(field, words[:200], 400)
    found = np.frombuffer(data, kind, count=size, offset=stream.tell())
    return found.reshape(shape, order="F" if by_column else "C")


def checked_rows(rows: Array, spec: InputSpec, signature: Signature) -> Array:
    """As the model takes them: never wrapped, cut or rounded to fit. Raises ``BadRequestError``."""
    place = RowPlace("instances")
    if spec.value_range is not None:
        low, high = spec.value_range
        refuse_where(rows, (rows < low) | (rows > high), place, f"expected {low:g} to {high:g}")
    for name, low, high in signature.ranges:
        at = spec.columns.index(name)
        wrong = np.zeros(rows.shape, dtype=bool)
        wrong[:, at] = (rows[:, at] < low) | (rows[:, at] > high)
        refuse_where(rows, wrong, place, f"expected {low:g} to {high:g}")
    if np.dtype(spec.dtype).kind in "iu":
        return _whole(rows, spec.dtype, place)
    fits = np.abs(rows.astype(np.float64)) <= float(np.finfo(spec.dtype).max)  # not so for NaN, either
    refuse_where(rows, ~fits, place, f"expected a finite number that {spec.dtype} can hold")
    return np.ascontiguousarray(rows, dtype=spec.dtype)


def _whole(rows: Array, dtype: str, place: RowPlace) -> Array:
    bounds = np.iinfo(dtype)
    if rows.dtype.kind == "f":
        broken = ~np.isfinite(rows) | (np.abs(rows) >= ROUNDED) | (rows != np.floor(rows))
        refuse_where(rows, broken, place, "expected a whole number")
    low, high = (rows < bounds.min), (rows > bounds.max)
    refuse_where(rows, low | high, place, f"expected {bounds.min} to {bounds.max} ({dtype})")
    return np.ascontiguousarray(rows, dtype=dtype)
