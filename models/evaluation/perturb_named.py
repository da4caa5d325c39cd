"""Perturbations of rows of named tensors: of every tensor that the declared change is about.

Noise and missing values are about numbers, changes of tokens about whole numbers that have a length or a shape of their
own (an id alone is no token); pictures and columns need an input that is one.

Shape legend: N rows, L values of all rows of a ragged tensor together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec

Array = np.ndarray[Any, Any]
NOISE, MISSING, DROPOUT, SWAP, CUSTOM = "gaussian_noise", "missing_input", "token_dropout", "token_swap", "custom"


def is_about(kind: str, tensor: TensorSpec) -> bool:
    """Whether a perturbation changes this tensor."""
    whole = not tensor.dtype.startswith("float")
    if kind in (DROPOUT, SWAP):
        return whole and (tensor.ragged or bool(tensor.shape))
    return (kind == NOISE and not whole) or kind == MISSING


def refusal(spec: Any, tensors: Sequence[TensorSpec]) -> str:
    """Why the perturbation cannot be done to these tensors; empty when it can."""
    named = ", ".join(map(str, tensors))
    if spec.kind == CUSTOM:
        return ""
    if spec.kind == MISSING and not getattr(spec, "columns", ()):
        whole = [one.name for one in tensors if not one.dtype.startswith("float")]
        return (
            f"missing_input of whole numbers ({whole[0]}): fill must be zero" if whole and spec.fill != "zero" else ""
        )
    if getattr(spec, "columns", ()) or not any(is_about(spec.kind, one) for one in tensors):
        return f"{spec.kind} is about none of the inputs: {named}"
    return ""


def changed_inputs(
    x: Inputs, spec: Any, tensors: Sequence[TensorSpec], change: Callable[[Array], Array], rng: np.random.Generator
) -> Inputs:
    """The rows with every tensor changed that the perturbation is about. `change`: of an array of values."""
    columns = dict(x.columns)
    for tensor in sorted(tensors, key=lambda one: one.name):
        if not is_about(spec.kind, tensor):
            continue
        column = columns[tensor.name]
        if isinstance(column, Ragged):
            swapped = spec.kind == SWAP
            values = _swapped(column, spec, rng) if swapped else change(column.values)
            columns[tensor.name] = Ragged(values, column.offsets)
        else:
            columns[tensor.name] = change(column)
        columns[tensor.name] = _kept_within(columns[tensor.name], tensor)
    return Inputs(columns)


def _swapped(column: Ragged, spec: Any, rng: np.random.Generator) -> Array:
    """Neighbouring pairs of a row change places."""
    values, lengths = column.values.copy(), column.lengths
    within = np.arange(len(values)) - np.repeat(column.offsets[:-1], lengths)
    left = np.flatnonzero((within % 2 == 0) & (within + 1 < np.repeat(lengths, lengths)))
    plain = (values.reshape(len(values), -1) != spec.padding).all(axis=1)
    left = left[(rng.random(len(left)) < spec.fraction) & plain[left] & plain[left + 1]]
    values[left], values[left + 1] = column.values[left + 1], column.values[left]
    return values


def _kept_within(column: Column, tensor: TensorSpec) -> Column:
    if tensor.value_range is None:
        return column
    values = column.values if isinstance(column, Ragged) else column
    kept = np.clip(values, *tensor.value_range).astype(values.dtype)  # NaN stays NaN
    return Ragged(kept, column.offsets) if isinstance(column, Ragged) else kept
