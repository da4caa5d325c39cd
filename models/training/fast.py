"""The fast engine: DistributedDataParallel, whose buckets are reduced while the backward pass goes on."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
import torch.distributed as dist
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.batches import Batch
from mlratchet.models.training.engine import FACTS, Engine, Stopwatch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

REDUCTION = "Expected to have finished reduction"  # DistributedDataParallel, of a parameter without a gradient


def refuse_unused(module: nn.Module) -> None:
    """After a backward pass. Raises ``ConfigurationError`` for parameters that took no part in it: the processes of
    `fast` wait for the gradient of each."""
    names = [name for name, one in module.named_parameters() if one.requires_grad and one.grad is None]
    if names:
        raise unused(f"{', '.join(names[:6])}{' ...' if len(names) > 6 else ''}")


def unused(which: str) -> ConfigurationError:
    """What can be done about parameters without a gradient."""
    return ConfigurationError(
        f"train.mode fast with several processes: {which} of the model takes no part in the loss, and every process "
        "waits for its gradient; use it in forward, remove it from the model, freeze it with train.optimizer.groups "
        "(learning_rate_factor: 0), or write train.mode: exact"
    )


class FastEngine(Engine):
    """One batch per rank. The facts are those of this rank's rows."""

    reduces_facts = False

    def __init__(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        super().__init__(module, *args, **kwargs)
        self._parameters = [p for p in module.parameters() if p.requires_grad]
        self._parallel: nn.Module = module
        self._looked = False  # whether a first backward pass has shown which parameters take part
        if self.world > 1:
            self._parallel = DistributedDataParallel(module, gradient_as_bucket_view=True)
            self.ask = self.asked(self._parallel)

    def forward_backward(self, step: int, batch: Batch, *, stop: bool, clock: Stopwatch) -> torch.Tensor:
        """See the base. Communication overlaps with the backward pass and is counted there."""
        rows, ((x, y, weights),) = batch
        self.seed(step, self.rank)
        x, y = self.to_device(x, y)
        for parameter in self._parameters:
            parameter.grad = None
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        pieces = self.pieces(x, y, weights)
        for at, (px, py, weight) in enumerate(pieces):
            with self._no_sync(last=at == len(pieces) - 1):
                with self.autocast():
                    output = self.ask(px)
                    loss = self.row_loss(output, py, weight)
                # DDP averages over ranks: weigh by rows, so that a short last batch counts every row once
                scaled = loss * (len(py) * self.world / rows)
                self.scaler.scale(scaled).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            loss_sum = loss_sum + loss.detach() * (len(py) / rows)
            correct = correct + self.correct(output, py)
        if not self._looked and self.world > 1:
            self._looked = True
            refuse_unused(self.module)
        facts = torch.zeros(FACTS, dtype=torch.float32, device=self.device)
        facts[0], facts[1], facts[2] = loss_sum, correct, float(stop)
        clock.lap("forward_backward")
        return facts

    def share_buffers(self) -> None:
        """See the base. DistributedDataParallel does so before a step, so that after it each rank has its own."""
        if self.world == 1:
            return
        held = [buffer for buffer in self.module.buffers() if buffer.numel() > 0]
        for kind in dict.fromkeys(buffer.dtype for buffer in held):
            some = [buffer for buffer in held if buffer.dtype == kind]
            flat = torch.cat([buffer.detach().reshape(-1) for buffer in some])
            dist.broadcast(flat, src=0)
            for buffer, part in zip(some, torch.split(flat, [b.numel() for b in some]), strict=True):
                buffer.copy_(part.view(buffer.shape))

    def _no_sync(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        if last or not isinstance(self._parallel, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._parallel.no_sync()

    def clip(self, largest: float | None) -> torch.Tensor:
        """See the base."""
        return nn.utils.clip_grad_norm_(self._parameters, largest if largest is not None else math.inf)
