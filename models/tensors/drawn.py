"""Rows drawn from pieces at once for several batches: each piece is looked at once for all of them, not once a batch.

Shape legend: N rows that were drawn.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from mlratchet.models.tensors.batch import Batch, aligned, batch_of
from mlratchet.models.tensors.named import Array
from mlratchet.models.tensors.sharded import ShardedArray, ShardedInputs, by_piece

Room = dict[str, Array]


class DrawnRows:
    """The rows at some places, to be given out in batches. The next ones that are drawn into the same `room` end it."""

    def __init__(self, x: ShardedInputs, y: ShardedArray, places: Array, room: Room) -> None:
        """`x` and `y` lie in the same pieces; `places` (N,); `room`: memory by column, used again, and enlarged where
        it is too small."""
        lie = list(by_piece(x.pieces.ends, places))
        self._where = np.empty(len(places), np.int64)  # of each place, among the rows as they lie
        self._where[np.concatenate([places[:0], *(here for _, here, _ in lie)])] = np.arange(len(places))
        empty = partial(_place_in, room)
        self._rows, self._targets = x.as_they_lie(lie, empty), y.as_they_lie(lie, empty)

    def batch(self, part: slice) -> Batch:
        """Inputs of these of the N rows, in their order: what `TensorRows.take` gives of their places, bit for bit."""
        where = self._where[part]
        if self._rows.ragged:
            return aligned(batch_of(self._rows.take(where)))
        taken = {name: taken_rows(np.asarray(one), where) for name, one in self._rows.columns.items()}
        return next(iter(taken.values())) if self._rows.is_one else taken

    def targets(self, part: slice) -> torch.Tensor:
        """Of the same rows."""
        return taken_rows(self._targets, self._where[part])


def taken_rows(rows: Array, where: Array) -> torch.Tensor:
    """A copy of these rows in memory as torch aligns it; every place of `where` is one of `rows`."""
    found = torch.from_numpy(np.empty(0, rows.dtype)).new_empty((len(where), *rows.shape[1:]))
    rows.take(where, axis=0, out=found.numpy(), mode="clip")  # "raise" would copy once more, to change nothing then
    return found


def _place_in(room: Room, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    held = room.get(name)
    if held is None or held.dtype != dtype or held.shape[1:] != shape[1:] or len(held) < shape[0]:
        held = room[name] = np.empty(shape, dtype)
    return held[: shape[0]]
