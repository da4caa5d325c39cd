"""Which tensors of a model are about its classes or its columns, found by asking it: names of layers say nothing.

A head is a tensor of which row k moves output k alone; the first layer of a table is one of which column f is moved by
input f alone.

Shape legend: B rows, C classes or labels, F columns.
"""

from __future__ import annotations

import torch
from mlratchet.models.tensors.batch import Batch, Model
from torch import nn

PROBED = 3  # outputs and columns that are asked about


def head_tensors(module: nn.Module, x_B: Batch, classes: int, ask: Model | None = None) -> set[str]:
    """Names of parameters whose row k moves output k alone. `x_B`: some rows as the model takes them; `ask`: how, where
    it takes them by name."""
    named = {name: p for name, p in module.named_parameters() if p.ndim >= 1 and len(p) == classes}
    found = set(named)
    for place in _probed(classes):
        for name, slope in _slopes(module, named, x_B, place, ask).items():
            moved = slope.reshape(classes, -1).abs().sum(dim=1) > 0
            if not moved[place] or int(moved.sum()) != 1:
                found.discard(name)
    return found


def column_tensors(
    module: nn.Module, x_BF: torch.Tensor, columns: int, *, base: torch.Tensor | None = None
) -> set[str]:
    """Names of parameters (H, F) whose column f is moved by input f alone; none where inputs are normalised first.

    `base` (F,): the row that the model sees as zeros, where its columns are standardised.
    """
    named = {name: p for name, p in module.named_parameters() if p.ndim == 2 and p.shape[1] == columns}
    found = set(named)
    for place in _probed(columns):
        alone = torch.zeros_like(x_BF) if base is None else base.detach().expand_as(x_BF).clone()
        alone[:, place] = x_BF[:, place] + 1.0
        for name, slope in _slopes(module, named, alone, None).items():
            moved = slope.abs().sum(dim=0) > 0
            if bool(moved.any()) and (not moved[place] or int(moved.sum()) != 1):
                found.discard(name)
    return found


def _probed(count: int) -> list[int]:
    return sorted({0, min(1, count - 1), count - 1})[:PROBED]


def _slopes(
    module: nn.Module, named: dict[str, nn.Parameter], x: Batch, place: int | None, ask: Model | None = None
) -> dict[str, torch.Tensor]:
    """Derivatives of one output, or of all, by every parameter."""
    if not named:
        return {}
    training = module.training
    module.eval()
    try:
        with torch.enable_grad():
            output = (ask or module)(x)
            asked = output.sum() if place is None else output[:, place].sum()
            slopes = torch.autograd.grad(asked, list(named.values()), allow_unused=True)
    finally:
        module.train(training)
    return {
        name: torch.zeros_like(parameter) if slope is None else slope
        for (name, parameter), slope in zip(named.items(), slopes, strict=True)
    }
