"""What stands on the encoders: the features of all fields become the output.

Shape legend: B rows, D features, N categories, F numbers, S tokens, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mlratchet.models.networks.encoders import Encoder, encoded
from mlratchet.models.networks.padded import SelfAttention
from torch import nn
from torch.nn import functional


class Alone(nn.Module):
    """A network of one tensor, which it is given without its name."""

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__()
        self.network, self.name = network, name

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, O)."""
        output: torch.Tensor = self.network(**{self.name: x})
        return output


class Network(nn.Module):
    """Encoders side by side, a trunk on their features, a linear head. Called with named tensors."""

    def __init__(self, encoders: Sequence[Encoder], trunk: nn.Module, features: int, outputs: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.trunk = trunk
        self.head = nn.Linear(features, outputs)

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """(B, O)."""
        found = [encoded(encoder, tensors) for encoder in self.encoders]
        output: torch.Tensor = self.head(self.trunk(torch.cat(found, dim=1)))
        return output


def mlp(features: int, hidden: Sequence[int], dropout: float) -> tuple[nn.Module, int]:
    """Linear layers with ReLU and dropout, and how wide the last is."""
    layers, before = list[nn.Module](), features
    for width in hidden:
        layers += [nn.Linear(before, width), nn.ReLU(), nn.Dropout(dropout)]
        before = width
    return nn.Sequential(*layers), before


class TableResidual(nn.Module):
    """A block of the table's ResNet (Gorishniy et al. 2021, section 3.2), LayerNorm instead of BatchNorm."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(2 * width, width), nn.Dropout(dropout),
        )  # fmt: skip

    def forward(self, x_BD: torch.Tensor) -> torch.Tensor:
        """(B, D)."""
        out: torch.Tensor = x_BD + self.body(x_BD)
        return out


def table_resnet(features: int, width: int, depth: int, dropout: float) -> nn.Module:
    """A linear layer, blocks, LayerNorm and ReLU; (B, features) to (B, width)."""
    blocks = [TableResidual(width, dropout) for _ in range(depth)]
    return nn.Sequential(nn.Linear(features, width), *blocks, nn.LayerNorm(width), nn.ReLU())


class FeatureTransformer(nn.Module):
    """FT-Transformer (Gorishniy et al. 2021, section 3.3): each number and category is a token, other fields' features
    are one token each, and a token of its own gathers the answer."""

    def __init__(
        self, *, numbers: str | None, count: int, categories: str | None, codes: Sequence[int],
        others: Sequence[Encoder], width: int, depth: int, dropout: float, outputs: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.numbers, self.categories = numbers, categories
        if numbers is not None:
            self.scale_FD = nn.Parameter(torch.randn(count, width) * width**-0.5)
            self.shift_FD = nn.Parameter(torch.randn(count, width) * width**-0.5)
        self.tables = nn.ModuleList(nn.Embedding(one, width) for one in codes)
        self.others = nn.ModuleList(others)
        self.enter = nn.ModuleList(nn.Linear(one.width, width) for one in others)
        self.answer = nn.Parameter(torch.randn(1, 1, width) * width**-0.5)
        self.blocks = nn.ModuleList(SelfAttention(width, heads=4, dropout=dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """(B, O)."""
        rows = next(iter(tensors.values())).shape[0]
        tokens = [self.answer.expand(rows, -1, -1)]
        if self.numbers is not None:
            tokens.append(tensors[self.numbers].unsqueeze(-1) * self.scale_FD + self.shift_FD)
        if self.categories is not None:
            x_BN = tensors[self.categories]
            tokens.append(torch.stack([table(x_BN[:, i]) for i, table in enumerate(self.tables)], dim=1))
        for encoder, enter in zip(self.others, self.enter, strict=True):
            tokens.append(enter(encoded(encoder, tensors)).unsqueeze(1))
        x_BSD = torch.cat(tokens, dim=1)
        known_BS = torch.ones(x_BSD.shape[:2], dtype=torch.bool, device=x_BSD.device)
        for block in self.blocks:
            x_BSD = block(x_BSD, known_BS)
        output: torch.Tensor = self.head(functional.relu(self.norm(x_BSD[:, 0])))
        return output
