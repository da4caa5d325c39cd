"""Exponential moving average of the weights (Polyak averaging with decay)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class WeightAverage:
    """average <- decay x average + (1 - decay) x weights, after every step."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self._decay = decay
        named = [(n, p) for n, p in module.named_parameters() if p.is_floating_point()]
        self._names = [n for n, _ in named]
        self._parameters = [p for _, p in named]
        self._average = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Once per step."""
        torch._foreach_lerp_(self._average, [p.detach() for p in self._parameters], 1.0 - self._decay)

    def tensors(self) -> dict[str, torch.Tensor]:
        """By parameter name. Not copied."""
        return dict(zip(self._names, self._average, strict=True))

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """From a checkpoint."""
        for name, average in self.tensors().items():
            average.copy_(tensors[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The module has the averaged weights inside."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        for at, parameter in enumerate(self._parameters):
            parameter.data, self._average[at] = self._average[at], parameter.data
