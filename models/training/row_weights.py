"""Rows that count more or less than others in the loss: those that the inference log gave.

Shape legend: B rows of a batch, N rows of a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.objectives.base import Loss
from mlratchet.models.sources.record import LOGGED, LOGGED_COLUMN, Split

RowWeights = np.ndarray[Any, np.dtype[np.float32]]


def row_weights(rows: Split, logged: float) -> RowWeights | None:
    """(N,) of a side, where rows of the log weigh `logged` and all others 1; None where all weigh 1: then nothing is
    read."""
    if logged == 1 or LOGGED_COLUMN not in rows.columns:
        return None
    column: Sequence[str] = rows.columns[LOGGED_COLUMN]
    ours = np.fromiter((cell == LOGGED for cell in column), bool, count=len(rows.ids))
    return np.where(ours, np.float32(logged), np.float32(1)) if ours.any() else None


def weighted(loss: Loss, output: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Sum over the rows of weight x loss, divided by their number, a scalar.

    A loss is a sum over rows divided by their number (`models/objectives/base.py`), a user's own, too: it is asked for
    the rows of each weight by themselves. `weight`: (B,), on the CPU, so that no step waits for a device; None counts
    every row once.
    """
    if weight is None:
        return loss(output, target)
    parts = []
    for one in sorted(set(weight.tolist())):
        at = (weight == one).nonzero().flatten()
        share = one * len(at) / len(weight)
        whole = len(at) == len(weight)
        parts.append(share * (loss(output, target) if whole else loss(output[at], target[at])))
    return torch.stack(parts).sum()
