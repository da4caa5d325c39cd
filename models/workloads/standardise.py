"""Columns on a scale of their own: mean 0 and standard deviation 1 over the training rows, inside the model.

Mean and scale are buffers of the module, so they are saved, exported and served with it, and clients send raw values.
Hooks use them, not a module around the model: the names of its parameters stay those that its author gave.

Shape legend: B rows of a batch, N rows, F columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.workloads.base import MEAN, PREPARED, SCALE
from torch import nn

TARGET_MEAN, TARGET_SCALE = f"{PREPARED}target_mean", f"{PREPARED}target_scale"  # (): of the target
LARGEST = 1e36  # beyond it float32 overflows when shards are added: such a column is left as it is
CHUNK_ROWS = 65_536

Array = np.ndarray[Any, Any]


def attach(module: nn.Module, columns: int, *, target: bool) -> nn.Module:
    """The same module; it takes raw columns (B, F) and, with `target`, gives numbers in the target's unit."""
    for name, value in neutral(columns, target=False).items():
        module.register_buffer(name, value)
    module.register_forward_pre_hook(_scaled)
    return attach_target(module) if target else module


def attach_target(module: nn.Module) -> nn.Module:
    """The same module; it gives numbers in the target's unit."""
    for name, value in neutral_target().items():
        module.register_buffer(name, value)
    module.register_forward_hook(_in_units)
    return module


def neutral(columns: int, *, target: bool) -> dict[str, torch.Tensor]:
    """The buffers of a model that takes its columns as they are."""
    return {MEAN: torch.zeros(columns), SCALE: torch.ones(columns)} | (neutral_target() if target else {})


def neutral_target() -> dict[str, torch.Tensor]:
    """The buffers of a model that gives its target as it is."""
    return {TARGET_MEAN: torch.zeros(()), TARGET_SCALE: torch.ones(())}


def _scaled(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    x_BF, *rest = inputs
    return ((x_BF - getattr(module, MEAN)) / getattr(module, SCALE), *rest)


def _in_units(module: nn.Module, inputs: Any, output: Any) -> Any:  # noqa: ARG001 - as torch calls it
    return output * getattr(module, TARGET_SCALE) + getattr(module, TARGET_MEAN)


def fit(module: nn.Module, x_NF: Array, y_N: Array, *, only: Sequence[int] | None = None) -> None:
    """Set the buffers that `attach` made, from training rows. `only`: places of columns; None: all."""
    state = dict(module.named_buffers())
    if MEAN not in state:
        return
    mean_F, scale_F = moments(x_NF)
    if only is not None:
        left = np.setdiff1d(np.arange(len(mean_F)), np.asarray(only, dtype=np.int64))
        mean_F[left], scale_F[left] = 0.0, 1.0
    with torch.no_grad():
        state[MEAN].copy_(torch.from_numpy(mean_F))
        state[SCALE].copy_(torch.from_numpy(scale_F))
    fit_target(module, y_N)


def fit_target(module: nn.Module, y_N: Array) -> None:
    """Set the buffers of the target, where the module has them, from the training rows."""
    state = dict(module.named_buffers())
    if TARGET_MEAN not in state:
        return
    mean_1, scale_1 = moments(y_N.reshape(len(y_N), -1)[:, :1])
    with torch.no_grad():
        state[TARGET_MEAN].copy_(torch.from_numpy(mean_1)[0])
        state[TARGET_SCALE].copy_(torch.from_numpy(scale_1)[0])


def moments(x_NF: Array) -> tuple[Array, Array]:
    """(F,) means and standard deviations, float64. A constant column has scale 1; one that overflows stays as it is."""
    chunks = [slice(at, at + CHUNK_ROWS) for at in range(0, len(x_NF), CHUNK_ROWS)]
    mean_F = np.sum([x_NF[one].sum(axis=0, dtype=np.float64) for one in chunks], axis=0) / len(x_NF)
    squares_F = np.sum([((x_NF[one] - mean_F) ** 2).sum(axis=0) for one in chunks], axis=0)
    scale_F = np.sqrt(squares_F / len(x_NF))
    constant = scale_F <= 1e-7 * np.abs(mean_F)  # no more than the rounding of float32
    constant |= scale_F < np.finfo(np.float32).tiny  # as the model holds it, and divides by it: below, digits are lost
    scale_F = np.where(constant, 1.0, scale_F)
    huge = ~((np.abs(mean_F) < LARGEST) & (scale_F < LARGEST))
    return np.where(huge, 0.0, mean_F), np.where(huge, 1.0, scale_F)
