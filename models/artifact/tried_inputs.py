"""Inputs on which a program in another form is held against the program: an example, and valid rows made of it.

Shape legend: N rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mlratchet.models.tensors.named import Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec

Array = np.ndarray[Any, Any]
SIZES = (1, 2, 3, 8, 33)  # rows of a batch


def tried_inputs(example: Inputs, specs: Sequence[TensorSpec], rng: np.random.Generator) -> Iterator[Inputs]:
    """The example, then a batch of every size: its rows in any order, numbers moved by noise within their range, and
    codes exchanged among rows, so that each stands where one of its kind has stood."""
    yield example
    for size in SIZES:
        yield Inputs({spec.name: _made(example, spec, rng, size) for spec in specs})


def _made(example: Inputs, spec: TensorSpec, rng: np.random.Generator, size: int) -> Array | Ragged:
    held = example.columns[spec.name]
    taken = rng.integers(len(example), size=size)
    if isinstance(held, Ragged):
        rows = held.take(taken)
        return rows if rows.dtype.kind != "f" else Ragged(_moved(rows.values, spec, rng), rows.offsets)
    if held.dtype.kind == "f":
        return _moved(held[taken], spec, rng)
    flat = held.reshape(len(held), -1)
    each = rng.integers(len(held), size=(size, flat.shape[1]))
    return np.ascontiguousarray(np.take_along_axis(flat, each, axis=0).reshape(size, *held.shape[1:]))


def _moved(values: Array, spec: TensorSpec, rng: np.random.Generator) -> Array:
    scale = float(values.std()) if values.size else 0.0
    moved = values + rng.normal(0.0, scale or 1.0, values.shape)
    if spec.value_range is not None:
        moved = np.clip(moved, *spec.value_range)
    return np.ascontiguousarray(moved.astype(values.dtype))
