"""Scoring a side over all ranks: every row once, and the same bits whatever the number of ranks.

Rows are cut into chunks of a fixed size; a chunk is scored whole by one rank. `DistributedSampler` would pad the last
batch and so bias the result (pytorch/pytorch#25162).

Shape legend: N rows, C outputs per row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.base import Loss
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import Model, aligned, batch_of, each
from torch import nn

CHUNK_ROWS = 512


def score_rows(
    module: nn.Module,
    rows: Split,
    *,
    loss: Loss | None,
    rank: int,
    world: int,
    device: torch.device,
    beat: Callable[[], None],
    ask: Model | None = None,
) -> tuple[RowOutputs, float]:
    """Outputs of every row in order, on every rank, and the mean loss (NaN without `loss`). Leaves `module` in eval.

    `ask`: how a batch is asked of it, where it takes tensors by name."""
    module.eval()
    count = len(rows.ids)
    chunks = [slice(at, min(at + CHUNK_ROWS, count)) for at in range(0, count, CHUNK_ROWS)]
    outputs: list[torch.Tensor | None] = [None] * len(chunks)
    losses = torch.zeros(len(chunks), dtype=torch.float64)

    def moved(one: torch.Tensor) -> torch.Tensor:
        return one.to(device)

    with torch.inference_mode():
        for at in range(rank, len(chunks), world):
            x = each(aligned(batch_of(rows.x.rows(chunks[at]))), moved)
            output = (ask or module)(x)
            if loss is not None:
                y = torch.from_numpy(rows.y[chunks[at]]).to(device)
                losses[at] = loss(output, y).double().cpu() * len(y)
            outputs[at] = output.float()
            beat()
    gathered = _gather(outputs, chunks, rank=rank, world=world, device=device)
    if world > 1:
        losses = _sum(losses, device)
    output_NC = gathered.numpy()
    if output_NC.ndim == 2 and output_NC.shape[1] == 1 and rows.y.ndim == 1:
        output_NC = output_NC[:, 0]
    mean = float(losses.sum()) / count if loss is not None and count else float("nan")
    targets = np.asarray(rows.y)
    return RowOutputs(ids=rows.ids, y=targets, output=output_NC, columns=rows.columns, dataset_id=rows.dataset_id), mean


def _gather(
    outputs: list[torch.Tensor | None], chunks: list[slice], *, rank: int, world: int, device: torch.device
) -> torch.Tensor:
    if world == 1:
        return torch.cat([o for o in outputs if o is not None]).cpu() if outputs else torch.zeros(0)
    shape = torch.zeros(8, dtype=torch.int64)  # dimensions, then the row's shape: a rank may have no chunk
    mine = next((o for o in outputs if o is not None), None)
    if mine is not None and rank == 0:
        shape[0] = mine.ndim - 1
        shape[1 : mine.ndim] = torch.tensor(mine.shape[1:])
    shape = _sum(shape, device)
    row = tuple(int(n) for n in shape[1 : 1 + int(shape[0])])
    whole = torch.zeros((chunks[-1].stop if chunks else 0, *row), dtype=torch.float32, device=device)
    for chunk, output in zip(chunks, outputs, strict=True):
        if output is not None:
            whole[chunk] = output.reshape(-1, *row)
    dist.all_reduce(whole)  # every row is 0 on all ranks but one: adding changes no bit
    return whole.cpu()


def _sum(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    moved = values.to(device)
    dist.all_reduce(moved)
    return moved.cpu()
