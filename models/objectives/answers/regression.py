"""What one number per row says.

Shape legend: B rows of a batch, N rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]


def numbers(output: torch.Tensor, field: str) -> list[dict[str, Any]]:
    """An object per row with the output, (B,) or (B, 1), as its only field."""
    return [{field: value} for value in output.reshape(len(output)).tolist()]


def texts(values: Array) -> list[str]:
    """(N,) or (N, 1) with six significant digits."""
    return [f"{float(value):.6g}" for value in values.reshape(len(values))]


def absolute_errors(rows: RowOutputs) -> Array:
    """(N,) float64 in the target's unit."""
    return np.asarray(np.abs(rows.output.astype(np.float64).reshape(len(rows.ids)) - rows.y.astype(np.float64)))


def refusal(target: Target) -> str:
    """Why it is not a finite number; empty when it is."""
    if isinstance(target, tuple):
        return f"got {len(target)} numbers, expected one"
    return "" if math.isfinite(target) else f"got {target}, expected a finite number"
