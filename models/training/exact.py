"""The exact engine: the same bits for any number of processes.

A global step has V virtual shards. Each is run alone, with random numbers from (seed, step, shard); the gradients,
the floating-point buffers (BatchNorm's statistics) and the facts of the shards are added in one fixed binary tree:
inside a rank by a binary counter, between ranks by recursive doubling. Float addition is commutative, so both sides
of an exchange compute the same bits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from mlratchet.models.training.batches import Batch, Shard
from mlratchet.models.training.engine import CORRECT, FACTS, LOSS, STOP, Engine, Stopwatch


class ExactEngine(Engine):
    """V shards, one tree."""

    reduces_facts = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first = self.rank * (self.config.shards // self.world)
        self._parameters = [p for p in self.module.parameters() if p.requires_grad]
        self._all_buffers = list(self.module.buffers())
        self._buffers = [b for b in self.module.buffers() if b.is_floating_point() and b.numel() > 0]
        self._sizes = [t.numel() for t in (*self._parameters, *self._buffers)]
        self._gradient_elements = sum(p.numel() for p in self._parameters)
        self._flats: list[torch.Tensor] = []
        self._views: list[list[torch.Tensor]] = []  # per flat: one view per parameter, then per buffer
        self._received = self._flat() if self.world > 1 else None
        self._grow()
        for parameter, view in zip(self._parameters, self._views[0], strict=False):
            parameter.grad = view

    def _flat(self) -> torch.Tensor:
        return torch.zeros(sum(self._sizes) + FACTS, dtype=torch.float32, device=self.device)

    def _grow(self) -> None:
        flat = self._flat()
        views = torch.split(flat[:-FACTS], self._sizes)
        self._flats.append(flat)
        self._views.append([v.view(t.shape) for v, t in zip(views, (*self._parameters, *self._buffers), strict=True)])

    def forward_backward(self, step: int, batch: Batch, *, stop: bool, clock: Stopwatch) -> torch.Tensor:
        """See the base. The gradients are views of one flat vector."""
        rows, shards = batch
        begin = [b.clone() for b in self._all_buffers]  # counters too: one step counts once, whatever the shards
        depth = 0
        for at, shard in enumerate(shards):
            if at and begin:
                torch._foreach_copy_(self._all_buffers, begin)
            if depth == len(self._flats):
                self._grow()
            self._run_shard(step, self._first + at, shard, rows, depth)
            depth += 1
            done = at + 1
            while done % 2 == 0:  # a binary counter: equal subtrees are added as soon as both are there
                self._flats[depth - 2].add_(self._flats[depth - 1])
                depth, done = depth - 1, done // 2
        root = self._flats[0]
        if stop:
            root[-FACTS + STOP] = 1.0
        clock.lap("forward_backward")
        self._exchange(root)
        if self._buffers:
            count = len(self._parameters)
            torch._foreach_copy_(self._buffers, self._views[0][count:])
            torch._foreach_mul_(self._buffers, 1.0 / self.config.shards)
        clock.lap("communication")
        return root[-FACTS:]

    def _run_shard(self, step: int, number: int, shard: Shard, rows: int, depth: int) -> None:
        self.seed(step, number)
        flat, views = self._flats[depth], self._views[depth]
        gradients = views[: len(self._parameters)]
        loss_sum, correct = torch.zeros((), device=self.device), torch.zeros((), device=self.device)
        x, y = self.to_device(*shard[:2])
        for piece, (px, py, weight) in enumerate(self.pieces(x, y, shard[2])):
            with self.autocast():
                output = self.ask(px)
                loss = self.row_loss(output, py, weight) * (len(py) / rows)
            found = torch.autograd.grad(self.scaler.scale(loss), self._parameters, allow_unused=True)
            new = [g if g is not None else torch.zeros_like(p) for g, p in zip(found, self._parameters, strict=True)]
            if piece == 0:
                torch._foreach_copy_(gradients, new)
            else:
                torch._foreach_add_(gradients, new)
            loss_sum = loss_sum + loss.detach()
            correct = correct + self.correct(output, py)
        if self._buffers:
            torch._foreach_copy_(views[len(self._parameters) :], self._buffers)
        flat[-FACTS + LOSS] = loss_sum
        flat[-FACTS + CORRECT] = correct
        flat[-FACTS + STOP] = 0.0

    def _exchange(self, flat: torch.Tensor) -> None:
        distance = 1
        while distance < self.world:
            assert self._received is not None
            partner = self.rank ^ distance
            sent = dist.P2POp(dist.isend, flat, partner)
            received = dist.P2POp(dist.irecv, self._received, partner)
            for work in dist.batch_isend_irecv([sent, received]):
                work.wait()
            flat.add_(self._received)
            distance *= 2

    def share_buffers(self) -> None:
        """See the base. They have: a step ends with the same ones everywhere."""

    def clip(self, largest: float | None) -> torch.Tensor:
        """One norm of the flat gradient, the same on every rank."""
        gradient = self._flats[0][: self._gradient_elements]
        norm: torch.Tensor = torch.linalg.vector_norm(gradient)
        if largest is not None:
            gradient.mul_(torch.clamp(largest / (norm + 1e-6), max=1.0))
        return norm
