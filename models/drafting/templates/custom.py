"""The network of pipeline NAME, yours to change: `pytest test_MODULE.py` tries it, `ratchet run NAME` trains it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mlratchet.models.networks.build import NetworkInput
from mlratchet.models.workloads.fields import SchemaWorkload
from torch import nn


class OwnNetwork(nn.Module):
    """Two layers over the numbers, and a vector for every category."""

    def __init__(self, numbers: int, codes: Sequence[int], hidden: int, outputs: int) -> None:
        super().__init__()
        self.vectors = nn.ModuleList(nn.Embedding(size, 8) for size in codes)  # `size` values of each category
        self.layers = nn.Sequential(nn.Linear(numbers + 8 * len(codes), hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, numbers: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        """(rows, numbers) float32 and (rows, categories) int64, prepared as the pipeline file says, to (rows, outputs):
        a score per class, or the number that is learnt. Text, pictures, sounds come under the names of their fields."""
        words = [one(categories[:, at]) for at, one in enumerate(self.vectors)]
        scores: torch.Tensor = self.layers(torch.cat([numbers, *words], dim=1))
        return scores


class OwnModel(SchemaWorkload):
    """Reads, prepares, trains and answers as the pipeline file says; the network alone is its own."""

    def build_network(self, inputs: Sequence[NetworkInput], outputs: int) -> nn.Module:
        """`inputs` are the tensors that `forward` takes, with their shapes and the number of codes of each column."""
        by_name = {one.name: one for one in inputs}
        numbers, categories = by_name["numbers"], by_name["categories"]
        return OwnNetwork(numbers.shape[0], categories.codes, self.options.hidden[0], outputs)
