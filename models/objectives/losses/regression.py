"""Losses of one number per row.

Shape legend: B rows.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean squared error of (B,) or (B, 1) against (B,)."""
    return F.mse_loss(output.reshape(target.shape), target.to(output.dtype))


def mae(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean absolute error."""
    return F.l1_loss(output.reshape(target.shape), target.to(output.dtype))


def huber(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Squared within 1 of the target, linear beyond (Huber, 1964)."""
    return F.huber_loss(output.reshape(target.shape), target.to(output.dtype))
