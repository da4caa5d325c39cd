"""What the two engines share: forward, backward and the numbers of a step.

Shape legend: P gradient elements, V virtual shards.
"""

from __future__ import annotations

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from mlratchet.models.objectives.base import Loss, Objective
from mlratchet.models.tensors.batch import Batch as Rows
from mlratchet.models.tensors.batch import ByName, Model, each
from mlratchet.models.training.batches import Batch, Shard
from mlratchet.models.training.config import TrainConfig
from mlratchet.models.training.order import shard_seed
from mlratchet.models.training.pieces import cut
from mlratchet.models.training.queries import split_queries
from mlratchet.models.training.row_weights import weighted
from torch import nn

LOSS, CORRECT, STOP = 0, 1, 2  # places in the facts of a step
FACTS = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Stopwatch:
    """Seconds per part of a step, since the last reading."""

    def __init__(self) -> None:
        self._spent = {"data": 0.0, "forward_backward": 0.0, "communication": 0.0, "optimizer": 0.0}
        self._epoch = dict(self._spent)
        self._since = time.perf_counter()

    def lap(self, part: str) -> None:
        """Everything since the last lap belongs to `part`."""
        now = time.perf_counter()
        self._spent[part] += now - self._since
        self._epoch[part] += now - self._since
        self._since = now

    def skip(self) -> None:
        """Everything since the last lap belongs to no part."""
        self._since = time.perf_counter()

    def read(self) -> dict[str, float]:
        """The sums; starts anew."""
        spent, self._spent = self._spent, dict.fromkeys(self._spent, 0.0)
        return spent

    def read_epoch(self) -> dict[str, float]:
        """The sums since the last epoch ended; starts anew."""
        spent, self._epoch = self._epoch, dict.fromkeys(self._epoch, 0.0)
        return spent


def in_channels_last(one: torch.Tensor) -> torch.Tensor:
    """Of a picture; as it is else."""
    return one.contiguous(memory_format=torch.channels_last) if one.ndim == 4 else one


class Engine(ABC):
    """Fills the gradients of one global step. `facts` are sums over the rows that it has seen."""

    reduces_facts: bool  # whether the facts of a step are those of all ranks

    def __init__(
        self,
        module: nn.Module,
        loss: Loss,
        config: TrainConfig,
        *,
        rank: int,
        world: int,
        device: torch.device,
        objective: Objective,
        least_rows: int = 1,
        names: tuple[str, ...] = (),
    ) -> None:
        """`least_rows`: of a piece; of a ranking, queries. `names`: of the tensors that the module takes by name; none
        where it takes one."""
        self.module, self.loss, self.config = module, loss, config
        self.rank, self.world, self.device = rank, world, device
        self.objective, self.least_rows, self._names = objective, least_rows, names
        self.ask = self.asked(module)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self._generator = (
            torch.default_generator if device.type == "cpu" else torch.cuda.default_generators[device.index or 0]
        )

    def asked(self, module: nn.Module) -> Model:
        """How a batch is asked of the module."""
        return ByName(module, self._names) if self._names else module

    @abstractmethod
    def forward_backward(self, step: int, batch: Batch, *, stop: bool, clock: Stopwatch) -> torch.Tensor:
        """Gradients of the mean loss over all rows of the step; returns the facts (FACTS,), float32."""

    @abstractmethod
    def clip(self, largest: float | None) -> torch.Tensor:
        """Scale the gradient to at most this L2 norm; returns the norm before."""

    @abstractmethod
    def share_buffers(self) -> None:
        """Before rows are scored, on every rank: all of them have the buffers that rank 0 publishes."""

    def seed(self, step: int, shard: int) -> None:
        """Dropout and the like draw from (seed, step, shard)."""
        self._generator.manual_seed(shard_seed(self.config.seed, step, shard))

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The configured precision."""
        if self.config.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.config.precision])

    def to_device(self, x: Rows, y: torch.Tensor) -> tuple[Rows, torch.Tensor]:
        """Without waiting where the memory is pinned."""
        if self.device.type != "cpu":
            x, y = each(x, self._moved), self._moved(y)
        if self.config.channels_last:
            x = each(x, in_channels_last)
        return x, y

    def _moved(self, one: torch.Tensor) -> torch.Tensor:
        return one.to(self.device, non_blocking=True)

    def row_loss(self, output: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        """Of a piece: the sum over its rows of weight x loss, divided by their number."""
        return weighted(self.loss, output, y, weight)

    def pieces(self, x: Rows, y: torch.Tensor, weight: torch.Tensor | None) -> Sequence[Shard]:
        """The rows, cut for gradient accumulation."""
        cuts = self._cut(x, y)
        if weight is None:
            return [(px, py, None) for px, py in cuts]
        parts = torch.split(weight, [len(py) for _, py in cuts])
        return [(px, py, part) for (px, py), part in zip(cuts, parts, strict=True)]

    def _cut(self, x: Rows, y: torch.Tensor) -> Sequence[tuple[Rows, torch.Tensor]]:
        most = self.config.accumulation
        if most > 1 and self.objective.by_query:
            queries = 1 + int((y[1:, 1] != y[:-1, 1]).sum())
            return split_queries(x, y, max(1, min(most, queries // self.least_rows)))
        return cut(x, y, most, least=self.least_rows)

    def correct(self, output: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Rows that are answered right; 0 where nothing is right or wrong."""
        if not self.objective.has_accuracy:
            return torch.zeros((), device=self.device)
        return self.objective.correct(output, y)
