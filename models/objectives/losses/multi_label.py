"""The loss of any number of labels per row.

Shape legend: B rows, C labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F


def binary_cross_entropy(
    output: torch.Tensor, target: torch.Tensor, *, weight: torch.Tensor | None, label_smoothing: float
) -> torch.Tensor:
    """Of logits (B, C) against 0 and 1 (B, C), mean over all; `weight` (C,) counts the rows that have the label."""
    smoothed = target * (1 - label_smoothing) + 0.5 * label_smoothing
    return F.binary_cross_entropy_with_logits(output, smoothed, pos_weight=weight)


def balanced(y: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(C,) float32: rows without the label / rows with it."""
    positive = y.sum(axis=0)
    return np.asarray(((len(y) - positive) / np.maximum(positive, 1)).astype(np.float32))
