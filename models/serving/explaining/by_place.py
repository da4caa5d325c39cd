"""What each place of a picture adds, and each stretch of a sound: it is made as the whole is on average, and the model
is asked again.

Shape legend: C channels, H x W pixels, T steps, R x R places.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from mlratchet.models.tensors.named import Inputs, Ragged

Array = np.ndarray[Any, Any]
MOST_PLACES, MOST_STRETCHES = 8, 32  # a side of a picture; of a sound
PICTURE_DIMENSIONS = 3


def places(row: Inputs, tensor: str) -> tuple[list[Inputs], tuple[int, int]]:
    """The picture (1, C, H, W), each time without one place, row by row; and how many rows and columns of places."""
    picture = row.columns[tensor]
    assert not isinstance(picture, Ragged)
    high, wide = (_edges(size, MOST_PLACES) for size in picture.shape[2:])
    mean = picture.mean(axis=(2, 3), keepdims=True).astype(picture.dtype)
    found = []
    for top, bottom in pairwise(high):
        for left, right in pairwise(wide):
            changed = picture.copy()
            changed[:, :, top:bottom, left:right] = mean
            found.append(Inputs({**row.columns, tensor: changed}))
    return found, (len(high) - 1, len(wide) - 1)


def stretches(row: Inputs, tensor: str) -> tuple[list[Inputs], list[float]]:
    """The steps of a ragged tensor, each time without one stretch, and where those begin and end as a share of it."""
    held = row.columns[tensor]
    assert isinstance(held, Ragged)
    edges = _edges(len(held.values), MOST_STRETCHES)
    mean = held.values.mean(axis=0, keepdims=True).astype(held.dtype)
    found = []
    for first, last in pairwise(edges):
        changed = held.values.copy()
        changed[first:last] = mean
        found.append(Inputs({**row.columns, tensor: Ragged(changed, held.offsets)}))
    return found, [at / max(1, edges[-1]) for at in edges]


def _edges(size: int, most: int) -> list[int]:
    return [int(at) for at in np.unique(np.linspace(0, size, min(size, most) + 1).astype(int))]


def is_picture(row: Inputs, tensor: str) -> bool:
    """Whether a tensor is one, (1, C, H, W)."""
    column = row.columns.get(tensor)
    return column is not None and not isinstance(column, Ragged) and len(column.shape) == PICTURE_DIMENSIONS + 1


def is_sound(row: Inputs, tensor: str) -> bool:
    """Whether a tensor has steps of one length each."""
    column = row.columns.get(tensor)
    return isinstance(column, Ragged) and len(column.values) > 1
