"""Instances of a model whose inputs have names: ``{"user": 3, "words": [7, 2, 9]}``, each value as it is or refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mlratchet.models.serving.numbers import check_nesting, kind_of, refuse_where, whole_numbers
from mlratchet.models.serving.refusal import BadRequestError, RowPlace
from mlratchet.models.tensors.spec import TensorSpec

Array = np.ndarray[Any, Any]
WORDS = 200  # characters of a client's own words that an answer repeats


def example_of(value: Any, field: str, tensors: Sequence[TensorSpec]) -> dict[str, Array]:
    """One instance as arrays by name. Raises ``BadRequestError`` naming the first field that is wrong."""
    names = [spec.name for spec in tensors]
    if not isinstance(value, Mapping):
        raise BadRequestError(field, f"got {kind_of(value)}, expected an object with {', '.join(names)}")
    wrong = [name for name in names if name not in value] or sorted(set(value) - set(names))
    if wrong:
        words = "missing input" if wrong[0] not in value else f"unknown input; expected {', '.join(names)}"
        raise BadRequestError(f"{field}.{wrong[0]}"[:WORDS], words)
    return {spec.name: tensor_of(value[spec.name], spec, RowPlace(f"{field}.{spec.name}")) for spec in tensors}


def tensor_of(value: Any, spec: TensorSpec, place: RowPlace) -> Array:
    """A tensor's JSON, nested as its shape; a ragged one is a list of any length of them."""
    shape = spec.shape
    if spec.ragged:
        if not isinstance(value, list):
            raise BadRequestError(place.of(()), f"got {kind_of(value)}, expected a list of any length")
        shape = (len(value), *shape)
    check_nesting(value, shape, place, ())
    if not np.prod(shape, dtype=np.int64):
        return np.zeros(shape, dtype=spec.dtype)
    whole = np.dtype(spec.dtype).kind in "iu"
    row = whole_numbers(value, shape, spec.dtype, place) if whole else np.asarray(value, dtype=np.float64)
    if spec.value_range is not None:
        low, high = spec.value_range
        refuse_where(row, (row < low) | (row > high), place, f"expected {low:g} to {high:g}")
    if whole:
        return row
    fits = np.abs(row) <= float(np.finfo(spec.dtype).max)  # not so for NaN, either
    refuse_where(row, ~fits, place, f"expected a finite number that {spec.dtype} can hold")
    return row.astype(spec.dtype)


def bad_examples(example: Mapping[str, Any], tensors: Sequence[TensorSpec]) -> dict[str, Any]:
    """Instances that must be refused, by what is wrong with them. `example`: one that is not, as JSON holds it."""
    first = tensors[0]
    longer = 0 if first.ragged else np.zeros((2, *first.shape)).tolist()
    endless = np.full((1, *first.shape) if first.ragged else first.shape, 1e400).tolist()
    return {
        f"a row without {first.name}": {name: one for name, one in example.items() if name != first.name},
        "a row with an input that nobody knows": {**example, f"{first.name}_": 0},
        f"{first.name} of another shape": {**example, first.name: longer},
        f"{first.name} of text": {**example, first.name: "text"},
        f"{first.name} of null": {**example, first.name: None},
        "infinity": {**example, first.name: endless},
    }
