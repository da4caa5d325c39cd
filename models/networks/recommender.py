"""Networks over entities (users, items ...) and what is known of them: matrix factorisation, two towers, DLRM.

Code 0 of every entity is the one that training never saw: its vector and its bias begin at zero, so that a new user
gets what is known of the item.
Shape legend: B rows, E entities, D width, O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mlratchet.models.networks.encoders import Encoder, encoded
from mlratchet.models.networks.trunks import mlp
from torch import nn

RECOMMENDERS = ("matrix_factorisation", "two_towers", "dlrm")


def entity_table(codes: int, width: int, scale: float) -> nn.Embedding:
    """Vectors of an entity, the unknown one's zero."""
    table = nn.Embedding(codes, width)
    nn.init.normal_(table.weight, std=scale)
    with torch.no_grad():
        table.weight[0] = 0.0
    return table


class MatrixFactorisation(nn.Module):
    """mean + bias of each entity + the dot product of the first two's vectors (Koren et al. 2009)."""

    def __init__(self, entities: Mapping[str, int], *, width: int, dropout: float) -> None:
        super().__init__()
        if len(entities) < 2:
            raise ValueError(f"a factorisation is of two entities or more, got {', '.join(entities) or 'none'}")
        self.names = tuple(entities)
        self.vectors = nn.ModuleList(entity_table(codes, width, width**-0.5 * 0.5) for codes in entities.values())
        self.biases = nn.ModuleList(entity_table(codes, 1, 0.01) for codes in entities.values())
        self.mean, self.dropout = nn.Parameter(torch.zeros(1)), nn.Dropout(dropout)

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """(B, 1)."""
        codes = [tensors[name].reshape(-1) for name in self.names]
        bias_B1 = sum((table(code) for table, code in zip(self.biases, codes, strict=True)), start=self.mean)
        first, second = (self.dropout(self.vectors[i](codes[i])) for i in (0, 1))
        score_B1: torch.Tensor = bias_B1 + (first * second).sum(dim=1, keepdim=True)
        return score_B1


class TwoTowers(nn.Module):
    """A network per side (entity and what is known of it), their vectors' dot product, the biases of the entities."""

    def __init__(
        self,
        entities: Mapping[str, int],
        sides: Sequence[Sequence[Encoder]],
        *,
        width: int,
        hidden: int,
        dropout: float,
    ) -> None:
        super().__init__()
        if len(entities) != 2 or len(sides) != 2:
            raise ValueError(f"two towers are of two entities, got {', '.join(entities) or 'none'}")
        self.names = tuple(entities)
        self.vectors = nn.ModuleList(entity_table(codes, width, width**-0.5 * 0.5) for codes in entities.values())
        self.biases = nn.ModuleList(entity_table(codes, 1, 0.01) for codes in entities.values())
        self.known = nn.ModuleList(nn.ModuleList(side) for side in sides)
        self.towers = nn.ModuleList()
        for side in sides:
            body, last = mlp(width + sum(one.width for one in side), [hidden], dropout)
            self.towers.append(nn.Sequential(body, nn.Linear(last, width)))
        self.mean = nn.Parameter(torch.zeros(1))

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """(B, 1)."""
        codes = [tensors[name].reshape(-1) for name in self.names]
        ends, score_B1 = [], self.mean
        for code, vectors, bias, side, tower in zip(
            codes, self.vectors, self.biases, self.known, self.towers, strict=True
        ):
            own_BD = vectors(code)
            known = [encoded(one, tensors) for one in side.children()]
            ends.append(own_BD + tower(torch.cat([own_BD, *known], dim=1)))
            score_B1 = score_B1 + bias(code)
        out: torch.Tensor = score_B1 + (ends[0] * ends[1]).sum(dim=1, keepdim=True)
        return out


class Dlrm(nn.Module):
    """Dot products of every pair of entities and of the other fields' features, then linear layers (Naumov et al.
    2019)."""

    def __init__(
        self, entities: Mapping[str, int], others: Sequence[Encoder], *, width: int, hidden: int, dropout: float,
        outputs: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.names = tuple(entities)
        self.vectors = nn.ModuleList(entity_table(codes, width, width**-0.5 * 0.5) for codes in entities.values())
        self.others = nn.ModuleList(others)
        self.enter = nn.ModuleList(nn.Linear(one.width, width) for one in others)
        count = len(self.names) + len(others)
        pairs = torch.tril_indices(count, count, offset=-1)
        self.register_buffer("pairs", pairs, persistent=False)
        self.top, last = mlp(count * width + pairs.shape[1], [hidden, hidden // 2], dropout)
        self.head = nn.Linear(last, outputs)

    def forward(self, **tensors: torch.Tensor) -> torch.Tensor:
        """(B, O)."""
        vectors = [table(tensors[name].reshape(-1)) for name, table in zip(self.names, self.vectors, strict=True)]
        for encoder, enter in zip(self.others, self.enter, strict=True):
            vectors.append(enter(encoded(encoder, tensors)))
        x_BED = torch.stack(vectors, dim=1)
        pairs: torch.Tensor = self.pairs  # type: ignore[assignment]  # a buffer
        dots_BP = (x_BED @ x_BED.transpose(1, 2))[:, pairs[0], pairs[1]]
        out: torch.Tensor = self.head(self.top(torch.cat([x_BED.flatten(1), dots_BP], dim=1)))
        return out
