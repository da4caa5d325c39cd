"""How a shard's rows are cut for gradient accumulation, and how few rows a model can be trained on at once."""

from __future__ import annotations

import torch
from mlratchet.models.tensors.batch import Batch, Model, cut_batch, first_rows
from torch import nn

NORMALISED = (nn.modules.batchnorm._BatchNorm, nn.SyncBatchNorm)

Rows = tuple[Batch, torch.Tensor]  # x, y


def cut(x: Batch, y: torch.Tensor, most: int, *, least: int) -> list[Rows]:
    """At most `most` pieces of at least `least` rows each; one where there are fewer than twice `least`."""
    count = max(1, min(most, len(y) // least))
    return list(zip(cut_batch(x, count), y.tensor_split(count), strict=True)) if count > 1 else [(x, y)]


def least_rows(module: nn.Module, x: Batch, ask: Model | None = None) -> int:
    """2 for a model that computes over its rows, as BatchNorm does, which needs two to have a variance; else 1.

    Layers of torch are known; whatever else cannot take one row is found by asking it. `x`: rows as the model takes
    them; `ask`: how, where it takes them by name. Buffers, mode and torch's random numbers are left as they were.
    """
    if any(isinstance(layer, NORMALISED) for layer in module.modules()):
        return 2
    buffers, training = [(buffer, buffer.clone()) for buffer in module.buffers()], module.training
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            module.train()
            (ask or module)(first_rows(x, 1))
    except Exception:  # noqa: BLE001 - the user's model may raise anything; with two rows it says it again, in its step
        return 2
    finally:
        module.train(training)
        for buffer, before in buffers:
            buffer.copy_(before)
    return 1
