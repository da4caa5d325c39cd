"""The rows of several steps are drawn at once from the pieces that they lie in: every piece is looked at once for all,
and the batches are those that would be drawn one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.data.mapped import MappedSide
from mlratchet.models.tensors.batch import Batch
from mlratchet.models.tensors.drawn import DrawnRows, Room
from mlratchet.models.tensors.sharded import ShardedArray, ShardedInputs
from mlratchet.models.training.order import Array
from torch.utils.data import get_worker_info

STRETCH_BYTES = 2 << 20  # of rows that are drawn at once: they stay in a core's cache until they are given out
MOST_STEPS = 64
Places = Callable[[int], Sequence[Array]]
"""Step -> the places of the rows of each shard of this rank."""


class Stretches:
    """Of one side. Steps are asked for in their order, by every loader worker each so many apart as there are workers;
    another order is answered, too, and is slower."""

    def __init__(self, x: ShardedInputs, y: ShardedArray, pieces: MappedSide, together: Callable[[int], Any]) -> None:
        """`together`: of a step, what those that may be drawn with it have in common: epoch and window."""
        self._x, self._y, self._together = x, y, together
        self._row_bytes = max(1, pieces.size_bytes(0) // max(1, pieces.sizes[0]))
        self._room: Room = {}
        self._parts: dict[int, list[slice]] = {}  # step -> its rows of each shard, among those that were drawn

    def shards(self, step: int, places: Places) -> list[tuple[Batch, torch.Tensor]]:
        """Inputs and targets of the shards of a step."""
        if step not in self._parts:
            self._draw(step, places)
        return [(self._rows.batch(part), self._rows.targets(part)) for part in self._parts[step]]

    def _draw(self, step: int, places: Places) -> None:
        drawn, parts, count = list[Array](), dict[int, list[slice]](), 0
        for one in self._steps(step, sum(map(len, places(step)))):
            parts[one] = []
            for mine in places(one):
                drawn.append(mine)
                parts[one].append(slice(count, count + len(mine)))
                count += len(mine)
        self._parts = {}  # rows of a draw that fails are nobody's
        self._rows = DrawnRows(self._x, self._y, np.concatenate(drawn), self._room)
        self._parts = parts

    def _steps(self, step: int, rows: int) -> list[int]:
        """This one and those behind it that are drawn with it."""
        count = min(MOST_STEPS, max(1, STRETCH_BYTES // max(1, rows * self._row_bytes)))
        worker, found, common = get_worker_info(), [step], self._together(step)
        apart = worker.num_workers if worker is not None else 1
        while len(found) < count and self._together(found[-1] + apart) == common:
            found.append(found[-1] + apart)
        return found
