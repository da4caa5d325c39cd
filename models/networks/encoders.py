"""Encoders: each turns the tensors of one field (or of all numbers and categories) into features of a fixed width.

An encoder is called with the tensors that `tensors` names, in that order; a ragged field brings its lengths.
Shape legend: B rows, F numbers, N categories, T steps, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from mlratchet.models.networks.padded import MaskedConv, SelfAttention, known_steps, masked_max, masked_mean, positions
from torch import nn


class Encoder(nn.Module):
    """Base of all: what it reads and how wide its features are."""

    def __init__(self, tensors: Sequence[str], width: int) -> None:
        super().__init__()
        self.tensors, self.width = tuple(tensors), width


def encoded(encoder: nn.Module, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The features (B, D) of what an encoder reads."""
    assert isinstance(encoder, Encoder)
    features: torch.Tensor = encoder(*(tensors[name] for name in encoder.tensors))
    return features


def embedding_width(codes: int) -> int:
    """1.6 codes^0.56, at most 64: what fastai found to do over many tables."""
    return max(2, min(64, round(1.6 * math.pow(codes, 0.56))))


class Numbers(Encoder):
    """As the preparation gives them."""

    def __init__(self, name: str, count: int) -> None:
        super().__init__([name], count)

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        """(B, F)."""
        return x_BF.flatten(1)


class Categories(Encoder):
    """An embedding table per column; `codes[i]` are the codes of column i, that of the unknown among them."""

    def __init__(self, name: str, codes: Sequence[int], *, width: int | None = None) -> None:
        widths = [width or embedding_width(count) for count in codes]
        super().__init__([name], sum(widths))
        self.tables = nn.ModuleList(nn.Embedding(count, one) for count, one in zip(codes, widths, strict=True))

    def forward(self, x_BN: torch.Tensor) -> torch.Tensor:
        """(B, D); `x_BN` is (B,) of one column alone."""
        x_BN = x_BN.reshape(x_BN.shape[0], -1)
        return torch.cat([table(x_BN[:, i]) for i, table in enumerate(self.tables)], dim=1)


class TokenBag(Encoder):
    """The mean and the maximum of the tokens' embeddings; order does not count."""

    def __init__(self, name: str, codes: int, *, width: int, dropout: float) -> None:
        super().__init__([name, f"{name}_lengths"], 2 * width)
        self.table, self.dropout = nn.Embedding(codes, width), nn.Dropout(dropout)

    def forward(self, x_BT: torch.Tensor, length_B: torch.Tensor) -> torch.Tensor:
        """(B, 2 D)."""
        known_BT = known_steps(length_B, x_BT.shape[1])
        x_BTD = self.dropout(self.table(x_BT))
        return torch.cat([masked_mean(x_BTD, known_BT), masked_max(x_BTD, known_BT)], dim=1)


class Steps(Encoder):
    """A convolution stack or transformer over the steps of a ragged field, then mean and maximum.

    The steps are codes (an embedding table of `codes` rows) or vectors of `features` numbers (a linear layer).
    """

    def __init__(
        self,
        name: str,
        *,
        kind: str,
        codes: int | None = None,
        features: int | None = None,
        width: int,
        depth: int,
        heads: int,
        kernel: int,
        dropout: float,
    ) -> None:
        super().__init__([name, f"{name}_lengths"], 2 * width)
        if (codes is None) == (features is None):
            raise ValueError("steps are codes or vectors: say one of codes and features")
        self.kind = kind
        self.enter = nn.Embedding(codes, width) if codes is not None else nn.Linear(features or 0, width)
        self.dropout = nn.Dropout(dropout)
        convs = [MaskedConv(width, width, kernel=kernel, dilation=2**i, dropout=dropout) for i in range(depth)]
        attention = [SelfAttention(width, heads=heads, dropout=dropout) for _ in range(depth)]
        if kind not in BLOCKS:
            raise ValueError(f"kind must be one of {', '.join(BLOCKS)}, got {kind!r}")
        self.convs = nn.ModuleList(convs if kind in ("cnn", "conformer") else [])
        self.attention = nn.ModuleList(attention if kind in ("transformer", "conformer") else [])
        self.norm = nn.LayerNorm(width)

    def forward(self, x_BT: torch.Tensor, length_B: torch.Tensor) -> torch.Tensor:
        """(B, 2 D); `x_BT` is (B, T) codes or (B, T, features)."""
        known_BT = known_steps(length_B, x_BT.shape[1])
        x_BTD = self.enter(x_BT)
        if self.attention:
            x_BTD = x_BTD + positions(x_BTD.shape[1], x_BTD.shape[2], like=x_BTD)
        x_BTD = self.dropout(x_BTD)
        if self.kind == "conformer":  # attention, then a convolution, in each block (Gulati et al. 2020)
            for attend, conv in zip(self.attention, self.convs, strict=True):
                x_BTD = attend(x_BTD, known_BT)
                x_BTD = x_BTD + conv(x_BTD, known_BT)
        else:
            for conv in self.convs:
                x_BTD = x_BTD + conv(x_BTD, known_BT)
            for attend in self.attention:
                x_BTD = attend(x_BTD, known_BT)
        x_BTD = self.norm(x_BTD)
        return torch.cat([masked_mean(x_BTD, known_BT), masked_max(x_BTD, known_BT)], dim=1)


BLOCKS = ("cnn", "transformer", "conformer")
