"""Features of a linear model over named tensors: what each becomes as columns of one sparse matrix.

| tensor | columns |
|---|---|
| numbers in a row (a table) | each, mean 0 and deviation 1 over the training rows |
| numbers of more dimensions (pictures) | each, mean 0 and deviation 1 over all of a channel |
| codes (categories, entities) | one per code, 0 or 1 |
| ragged codes (tokens, k-mers) | how often each occurs: (1 + ln count) by rarity, rows of length 1 (TF-IDF) |
| ragged numbers (log-mel, one-hot letters) | mean and deviation over the steps, scaled as a table is |

Shape legend: N rows, T steps of all rows together, F columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.tensors.spec import TensorSpec

Array = np.ndarray[Any, Any]
MOST_CODES = 1 << 20  # columns of one tensor of codes; larger ones share columns


def dense_width(specs: Sequence[TensorSpec]) -> int:
    """Columns that are numbers in every row: what a row of features costs."""
    return sum((2 if one.ragged else 1) * math.prod(one.shape) for one in specs if not _is_codes(one.dtype))


def entities_of(specs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """Tensors that hold one code a row: who, and what."""
    return tuple(one.name for one in specs if _is_codes(one.dtype) and not one.ragged and math.prod(one.shape) == 1)


def _is_codes(dtype: str) -> bool:
    return np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize > 1


@dataclass(frozen=True, kw_only=True)
class PlainFeatures:
    """Fitted on training rows; applied to any of the same tensors."""

    codes: dict[str, int]  # tensor of codes -> columns per place
    rarity: dict[str, Array]  # ragged codes -> (F,) weight of each
    scales: dict[str, tuple[Array, Array]]  # numbers -> (F,) mean, (F,) deviation

    @classmethod
    def fitted(cls, x: Inputs, *, names: Sequence[str] = ()) -> PlainFeatures:
        """On these rows. `names`: the tensors that count; none: all."""
        found = cls(codes={}, rarity={}, scales={})
        for name in names or x.names:
            column = x.columns[name]
            if _is_codes(str(column.dtype)):
                held = column.values if isinstance(column, Ragged) else column
                found.codes[name] = min(MOST_CODES, int(held.max(initial=0)) + 1)
                if isinstance(column, Ragged):
                    rows = _counted(column, found.codes[name]).getnnz(axis=0)
                    found.rarity[name] = np.log((1 + len(x)) / (1 + rows)) + 1
            else:
                found.scales[name] = _scale(_numbers(column), column)
        return found

    def matrix(self, x: Inputs) -> Any:
        """(N, F) float32: an array where all are numbers, else a `scipy.sparse.csr_matrix`."""
        from scipy.sparse import csr_matrix, hstack

        sparse = []
        for name, size in self.codes.items():
            column = x.columns[name]
            if isinstance(column, Ragged):
                sparse.append(_weighted(_counted(column, size), self.rarity[name]))
            else:
                sparse.append(_hot(column, size))
        dense = [
            ((_numbers(x.columns[name]) - mean) / deviation).astype(np.float32)
            for name, (mean, deviation) in self.scales.items()
        ]
        if not sparse:
            return np.concatenate(dense, axis=1)
        return csr_matrix(hstack([*sparse, *map(csr_matrix, dense)], format="csr", dtype=np.float32))


def _scale(numbers: Array, column: Column) -> tuple[Array, Array]:
    """(F,) mean and deviation. Single pixels are not scaled: those that are hardly ever set would count most."""
    mean, square = numbers.mean(axis=0), (numbers**2).mean(axis=0)
    if not isinstance(column, Ragged) and column.ndim > 2:
        shape = (column.shape[1], -1)  # a channel's places together
        mean, square = (
            np.broadcast_to(one.reshape(shape).mean(axis=1, keepdims=True), one.reshape(shape).shape).ravel()
            for one in (mean, square)
        )
    deviation = np.sqrt(np.maximum(square - mean**2, 0.0))
    return mean, np.where(deviation > 1e-6, deviation, 1.0)


def _numbers(column: Column) -> Array:
    """(N, F) float64."""
    if not isinstance(column, Ragged):
        return column.reshape(len(column), -1).astype(np.float64)
    values = column.values.reshape(len(column.values), -1)
    found = np.zeros((len(column), 2 * values.shape[1]))
    for row, (at, end) in enumerate(zip(column.offsets[:-1], column.offsets[1:], strict=True)):
        if end > at:  # a row at a time: all steps in float64 would be twice the training rows
            steps = values[at:end].astype(np.float64)
            found[row] = np.concatenate([steps.mean(axis=0), steps.std(axis=0)])
    return found


def _hot(column: Array, size: int) -> Any:
    """A column per code of every place; a code that training did not see has none."""
    from scipy.sparse import csr_matrix

    codes = column.reshape(len(column), -1).astype(np.int64)
    places = codes % MOST_CODES + size * np.arange(codes.shape[1])
    known = (codes >= 0) & (codes % MOST_CODES < size)
    rows = np.broadcast_to(np.arange(len(codes))[:, None], codes.shape)
    ones = np.ones(int(known.sum()), dtype=np.float32)
    return csr_matrix((ones, (rows[known], places[known])), shape=(len(codes), size * codes.shape[1]))


def _counted(column: Ragged, size: int) -> Any:
    """How often each code stands in a row."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(len(column)), column.lengths)
    codes = column.values.reshape(len(column.values), -1)[:, 0].astype(np.int64) % MOST_CODES
    known = (codes >= 0) & (codes < size)
    found = csr_matrix(
        (np.ones(int(known.sum()), dtype=np.float32), (rows[known], codes[known])), shape=(len(column), size)
    )
    found.sum_duplicates()
    return found


def _weighted(counts: Any, rarity: Array) -> Any:
    from scipy.sparse import diags

    counts = counts.copy()
    counts.data = 1 + np.log(counts.data)
    weighted = counts @ diags(rarity)
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return diags(1 / np.where(length > 0, length, 1.0)) @ weighted


__all__ = ["PlainFeatures", "dense_width", "entities_of"]
