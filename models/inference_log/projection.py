"""A prepared input as at most 64 numbers, the same for the same input always: what drift is measured on that has no
fields, such as pictures, sounds and texts.

Few numbers are kept as they are. More are a count sketch (Charikar, Chen, Farach-Colton 2002): every number is added,
with a fixed random sign, to one of 64 sums, so that inner products are kept in expectation. Whole numbers are names, of
words or entities: each counts where its own hash says, divided by how many there are.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
from mlratchet.models.inference_log.columns import MOST_PREPARED
from mlratchet.models.tensors.named import Column, Inputs, Ragged

Array = np.ndarray[Any, Any]
MULTIPLIER, SHIFT = 0x9E3779B97F4A7C15, 58  # Fibonacci hashing: the upper 6 bits are one of 64
SIGN_BIT = 57


def projected(rows: Inputs) -> Array:
    """(N, K) float32, K at most 64."""
    columns = [rows.columns[name] for name in sorted(rows.names)]
    if not rows.ragged:
        flat = [np.asarray(one).reshape(len(one), -1) for one in columns]
        if sum(one.shape[1] for one in flat) <= MOST_PREPARED:
            together: Array = np.concatenate(flat, axis=1).astype(np.float32, copy=False)
            return together
    total = np.zeros((len(rows), MOST_PREPARED), np.float32)
    for name, column in zip(sorted(rows.names), columns, strict=True):
        total += _sketch(column, crc32(name.encode()))
    return total


def _sketch(column: Column, seed: int) -> Array:
    values = column.values if isinstance(column, Ragged) else column
    if np.dtype(values.dtype).kind in "iub":
        return _of_names(column, seed)
    flat: Array = _flat(np.asarray(values, np.float32))
    each = _of_numbers(flat, seed)
    if not isinstance(column, Ragged):
        return each
    mean: Array = np.zeros((len(column.lengths), MOST_PREPARED), np.float32)
    some = np.flatnonzero(column.lengths)
    if len(some):  # each by itself: of one running sum a neighbour's large numbers would leave nothing of small ones
        sums = np.add.reduceat(each, column.offsets[:-1][some], axis=0, dtype=np.float64)
        mean[some] = sums / column.lengths[some][:, None]
    return mean


def _flat(values: Array) -> Array:
    """(L, numbers of each), also where L is 0: all texts of a batch may be empty."""
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _of_numbers(flat_ND: Array, seed: int) -> Array:
    count = flat_ND.shape[1]
    signs = _signs(count, seed)
    whole = -(-max(count, 1) // MOST_PREPARED) * MOST_PREPARED
    padded = np.zeros((len(flat_ND), whole), np.float32)
    np.multiply(flat_ND, signs, out=padded[:, :count])
    found: Array = padded.reshape(len(flat_ND), whole // MOST_PREPARED, MOST_PREPARED).sum(axis=1)
    return found


@lru_cache(maxsize=32)
def _signs(count: int, seed: int) -> Array:
    drawn = np.random.Generator(np.random.PCG64(seed)).integers(0, 2, count)
    return (2 * drawn - 1).astype(np.float32)


def _of_names(column: Column, seed: int) -> Array:
    if isinstance(column, Ragged):
        values, rows = _flat(column.values), np.repeat(np.arange(len(column)), column.lengths)
    else:
        values, rows = _flat(column), np.arange(len(column))
    each = values.shape[1]
    hashed = (values.ravel().astype(np.int64).view(np.uint64) + np.uint64(seed)) * np.uint64(MULTIPLIER)
    places = np.repeat(rows, each) * MOST_PREPARED + (hashed >> np.uint64(SHIFT)).astype(np.int64)
    signs = 1.0 - 2.0 * ((hashed >> np.uint64(SIGN_BIT)) & np.uint64(1)).astype(np.float64)
    sums = np.bincount(places, signs, minlength=len(column) * MOST_PREPARED).reshape(-1, MOST_PREPARED)
    counts = np.bincount(np.repeat(rows, each), minlength=len(column))
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
