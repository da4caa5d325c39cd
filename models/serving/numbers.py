"""The numbers of one row of a request: of the right shape and type, in range, and never wrapped, cut or rounded to fit.

Shape legend: a row is nested as `InputSpec.shape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mlratchet.models.artifact.signature import Signature
from mlratchet.models.serving.refusal import BadRequestError, RowPlace

Array = np.ndarray[Any, Any]
NUMBERS = frozenset({int, float})  # a boolean is no number, whatever Python and numpy make of it
ROUNDED = 2.0**53  # from it on a number written with a point may be another whole number than the one that was written
KINDS = {"NoneType": "null", "str": "text", "bool": "a boolean", "dict": "an object", "list": "a list"}


def row_of(value: Any, signature: Signature, place: RowPlace) -> Array:
    """A row's JSON as an array of the input's shape and type. Raises ``BadRequestError`` naming the first value that
    cannot be taken as it is."""
    spec = signature.input
    check_nesting(value, spec.shape, place, ())
    whole = np.dtype(spec.dtype).kind in "iu"
    row = whole_numbers(value, spec.shape, spec.dtype, place) if whole else np.asarray(value, dtype=np.float64)
    if spec.value_range is not None:
        low, high = spec.value_range
        refuse_where(row, (row < low) | (row > high), place, f"expected {low:g} to {high:g}")
    for name, low, high in signature.ranges:
        at = spec.columns.index(name)
        if not low <= row[at] <= high:
            raise BadRequestError(place.of((at,)), f"got {row[at]}, expected {low:g} to {high:g}")
    if whole:
        return row
    fits = np.abs(row) <= float(np.finfo(spec.dtype).max)  # not so for NaN, either
    if not fits.all():
        refuse_where(row, ~fits, place, f"expected a finite number that {spec.dtype} can hold")
    return row.astype(spec.dtype)


def check_nesting(value: Any, shape: tuple[int, ...], place: RowPlace, at: tuple[int, ...]) -> None:
    """Raises unless lists are nested as `shape` and hold numbers alone. No deeper than the shape, whatever is sent."""
    if not shape:
        if type(value) not in NUMBERS:
            raise BadRequestError(place.of(at), f"got {kind_of(value)}, expected a number")
        return
    if not isinstance(value, list):
        raise BadRequestError(place.of(at), f"got {kind_of(value)}, expected a list of {shape[0]} values")
    if len(value) != shape[0]:
        raise BadRequestError(place.of(at), f"got {len(value)} values, expected {shape[0]}")
    if len(shape) == 1 and NUMBERS.issuperset(map(type, value)):
        return
    for number, item in enumerate(value):
        check_nesting(item, shape[1:], place, (*at, number))


def kind_of(value: Any) -> str:
    """What JSON calls it."""
    name = type(value).__name__
    return KINDS.get(name, name)


def whole_numbers(value: Any, shape: tuple[int, ...], dtype: str, place: RowPlace) -> Array:
    """As an integer type: exactly the numbers that were sent."""
    bounds = np.iinfo(dtype)
    try:
        row = np.asarray(value)
    except OverflowError:  # beyond 64 bits
        row = np.empty(0, dtype=object)
    if row.dtype.kind != "i" or row.min() < bounds.min or row.max() > bounds.max:
        exact: list[int] = []
        for at, number in leaves(value, ()):
            if isinstance(number, float) and (not number.is_integer() or abs(number) >= ROUNDED):
                raise BadRequestError(place.of(at), f"got {number!r}, expected a whole number")
            if not bounds.min <= number <= bounds.max:
                raise BadRequestError(place.of(at), f"got {number!r}, expected {bounds.min} to {bounds.max} ({dtype})")
            exact.append(int(number))
        return np.asarray(exact, dtype=dtype).reshape(shape)
    return row.astype(dtype)


def leaves(value: Any, at: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int | float]]:
    """(index, number) of nested lists."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from leaves(item, (*at, number))
    else:
        yield at, value


def refuse_where(row: Array, wrong: Any, place: RowPlace, words: str) -> None:
    """Raises for the first value that is wrong."""
    if np.any(wrong):
        index = tuple(int(at) for at in np.argwhere(wrong)[0])
        raise BadRequestError(place.of(index), f"got {row[index]!s}, {words}")
