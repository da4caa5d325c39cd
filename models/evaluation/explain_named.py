"""Attributions of models that take several tensors: what the answer loses when a part of the input is taken away.

A part is one value of a dense tensor (or a group of neighbours, of a large one), or a ragged tensor as a whole.

Shape legend: N rows, G parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from mlratchet.models.tensors.batch import Batch, batch_of
from mlratchet.models.tensors.named import Column, Inputs, Ragged

Array = np.ndarray[Any, Any]
Ask = Callable[[Any, torch.Tensor], torch.Tensor]  # (batch, y) -> the explained quantity, (N,)
BATCH_ROWS = 256


def part_names(x: Inputs, most: int) -> tuple[str, ...]:
    """Of each part; at most `most` of one tensor."""
    return tuple(name for name, _, _ in _parts(x, most))


def _parts(x: Inputs, most: int) -> Iterator[tuple[str, str, slice]]:
    """(name of the part, name of the tensor, its values)."""
    for name in sorted(x.names):
        column = x.columns[name]
        size = 1 if isinstance(column, Ragged) else int(np.prod(column.shape[1:]))
        if isinstance(column, Ragged) or size == 1:
            yield name, name, slice(None)
            continue
        edges = np.linspace(0, size, min(size, most) + 1).astype(int).tolist()
        for low, high in pairwise(edges):
            yield f"{name}[{low}]" if high - low == 1 else f"{name}[{low}:{high}]", name, slice(low, high)


def ablate(ask: Ask, x: Inputs, y: Array, most: int) -> tuple[Array, Array]:
    """What each part adds (N, G), and the whole change (N,) against the baseline: the mean row of numbers, 0 of whole
    numbers and of sequences."""
    whole = _asked(ask, x, y)
    base = {name: _baseline(column) for name, column in x.columns.items()}
    found = [whole - _asked(ask, _without(x, name, values, base), y) for _, name, values in _parts(x, most)]
    return np.stack(found, axis=1), whole - _asked(ask, Inputs(base), y)


def _baseline(column: Column) -> Column:
    if isinstance(column, Ragged):
        return Ragged(np.zeros_like(column.values), column.offsets)
    if not np.issubdtype(column.dtype, np.floating):
        return np.zeros_like(column)
    return np.broadcast_to(column.mean(axis=0, keepdims=True).astype(column.dtype), column.shape).copy()


def _without(x: Inputs, name: str, values: slice, base: dict[str, Column]) -> Inputs:
    column, blank = x.columns[name], base[name]
    if isinstance(column, Ragged) or isinstance(blank, Ragged):
        return Inputs({**x.columns, name: blank})
    changed = column.reshape(len(column), -1).copy()
    changed[:, values] = blank.reshape(len(blank), -1)[:, values]
    return Inputs({**x.columns, name: changed.reshape(column.shape)})


def _asked(ask: Ask, x: Inputs, y: Array) -> Array:
    targets = torch.from_numpy(np.ascontiguousarray(y))
    with torch.inference_mode():
        found = [
            ask(_batch(x, at), targets[at : at + BATCH_ROWS]).float().numpy() for at in range(0, len(x), BATCH_ROWS)
        ]
    return np.concatenate(found)


def _batch(x: Inputs, at: int) -> Batch:
    return batch_of(x.rows(slice(at, at + BATCH_ROWS)))
