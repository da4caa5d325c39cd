"""Sequences of unlike length in one batch: what stands behind the end of a row is padding and decides nothing.

Shape legend: B rows, T steps, D width.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional


def known_steps(length_B: torch.Tensor, steps: int) -> torch.Tensor:
    """True where a step belongs to its row."""
    return torch.arange(steps, device=length_B.device)[None, :] < length_B[:, None]


def masked_mean(x_BTD: torch.Tensor, known_BT: torch.Tensor) -> torch.Tensor:
    """(B, D), over the steps of each row; zeros for a row without any."""
    weight_BT1 = known_BT.unsqueeze(-1).to(x_BTD.dtype)
    return (x_BTD * weight_BT1).sum(dim=1) / weight_BT1.sum(dim=1).clamp(min=1.0)


def masked_max(x_BTD: torch.Tensor, known_BT: torch.Tensor) -> torch.Tensor:
    """(B, D), over the steps of each row; zeros for a row without any."""
    low = x_BTD.masked_fill(~known_BT.unsqueeze(-1), torch.finfo(x_BTD.dtype).min).amax(dim=1)
    return torch.where(known_BT.any(dim=1, keepdim=True), low, torch.zeros_like(low))


def positions(steps: int, width: int, *, like: torch.Tensor) -> torch.Tensor:
    """Sine and cosine of the step at `width` frequencies (Vaswani et al. 2017, section 3.5): any length has them."""
    at_T1 = torch.arange(steps, device=like.device, dtype=torch.float32)[:, None]
    even_D = torch.arange(0, width, 2, device=like.device, dtype=torch.float32)
    rate_D = torch.exp(even_D * (-math.log(10_000.0) / width))
    angle_TD = at_T1 * rate_D
    return torch.stack([angle_TD.sin(), angle_TD.cos()], dim=-1).flatten(1)[:, :width].to(like.dtype)


class MaskedConv(nn.Module):
    """A convolution over the steps (`same` length) whose padding stays zero, LayerNorm per step, GELU, dropout."""

    def __init__(self, before: int, width: int, *, kernel: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, width, kernel, padding=(kernel - 1) * dilation // 2, dilation=dilation)
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(self, x_BTD: torch.Tensor, known_BT: torch.Tensor) -> torch.Tensor:
        """(B, T, width). `kernel` is odd."""
        x_BTD = x_BTD * known_BT.unsqueeze(-1).to(x_BTD.dtype)
        y_BTD = self.conv(x_BTD.transpose(1, 2)).transpose(1, 2)
        out: torch.Tensor = self.dropout(functional.gelu(self.norm(y_BTD)))
        return out


class SelfAttention(nn.Module):
    """Pre-norm transformer block: attention over the known steps of a row, then two linear layers with GELU."""

    def __init__(self, width: int, *, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} must be a multiple of heads {heads}")
        self.heads, self.rate = heads, dropout
        self.norm, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(2 * width, width),
        )

    def forward(self, x_BTD: torch.Tensor, known_BT: torch.Tensor) -> torch.Tensor:
        """(B, T, D). A row without a step attends to its padding, which its pooling then leaves out."""
        rows, steps, width = x_BTD.shape
        parts = self.qkv(self.norm(x_BTD)).reshape(rows, steps, 3, self.heads, width // self.heads)
        q, k, v = (part.transpose(1, 2) for part in parts.unbind(dim=2))
        none_B1 = ~known_BT.any(dim=1, keepdim=True)
        score = (q @ k.transpose(-1, -2)) * (width // self.heads) ** -0.5
        score = score.masked_fill(~(known_BT | none_B1)[:, None, None, :], torch.finfo(score.dtype).min)
        mixed = functional.dropout(score.softmax(dim=-1), self.rate, self.training) @ v
        x_BTD = x_BTD + self.out(mixed.transpose(1, 2).reshape(rows, steps, width))
        out: torch.Tensor = x_BTD + self.mlp(x_BTD)
        return out
