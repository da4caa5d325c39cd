"""A small transformer over columns, with dropout and BatchNorm: what makes exactness hard."""

from __future__ import annotations

import torch
from mlratchet.models.workloads.tabular import TableClassifier
from torch import nn


class Encoder(nn.Module):
    def __init__(self, columns: int, classes: int) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.randn(columns, 16))
        self.normal = nn.BatchNorm1d(columns)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.head = nn.Linear(16, classes)

    def forward(self, x_BF: torch.Tensor) -> torch.Tensor:
        tokens_BFE = self.normal(x_BF)[:, :, None] * self.place + self.place
        out: torch.Tensor = self.head(self.layer(tokens_BFE).mean(dim=1))
        return out


class SmallTransformer(TableClassifier):
    def build_model(self) -> nn.Module:
        return Encoder(len(self.columns), len(self.classes))
