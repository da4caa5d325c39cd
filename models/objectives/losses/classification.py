"""The loss of one class per row.

Shape legend: B rows, C classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


def cross_entropy(
    output: torch.Tensor, target: torch.Tensor, *, weight: torch.Tensor | None, label_smoothing: float
) -> torch.Tensor:
    """Of logits (B, C) against class indices (B,): the sum over rows of weighted losses, divided by B."""
    each = F.cross_entropy(output, target, weight=weight, label_smoothing=label_smoothing, reduction="sum")
    return each / len(target)


def balanced(y: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """(C,) float32: rows / (classes x rows of the class)."""
    counts = np.bincount(y, minlength=count)
    return np.asarray((len(y) / (count * np.maximum(counts, 1))).astype(np.float32))
