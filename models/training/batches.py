"""From rows to the tensors of a step, in the rank or in loader workers; the same bytes either way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from mlratchet.models.data.mapped import MappedSide
from mlratchet.models.sources.record import Split
from mlratchet.models.tensors.batch import Batch as Rows
from mlratchet.models.tensors.batch import TensorRows, aligned
from mlratchet.models.tensors.sharded import ShardedArray, ShardedInputs
from mlratchet.models.training.handing_over import Packed, Passages, pack, unpack
from mlratchet.models.training.order import Array, SampleOrder, shard_rows, shard_seed
from mlratchet.models.training.queries import queries_of, query_target
from mlratchet.models.training.row_weights import row_weights
from mlratchet.models.training.stretches import Stretches
from mlratchet.models.training.windows import WindowOrder
from mlratchet.models.workloads.base import Workload
from torch.utils.data import DataLoader, Dataset, Sampler


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which rows of a step this rank takes."""

    rows: int  # for a ranking: queries
    batch: int  # of them
    smallest: int
    seed: int
    shards: int  # over all ranks
    first: int  # this rank's shards are first .. first + count - 1
    count: int
    window: int | None = None  # shards of the dataset whose rows are mixed; None: all
    sizes: tuple[int, ...] = ()  # rows of each shard of the dataset

    def order(self, lengths: Callable[[Array | None], Array] | None = None) -> SampleOrder | WindowOrder:
        """The global order; rows with `lengths` (of some; of None: all) meet rows of about the same."""
        if self.window is not None:
            return WindowOrder(
                self.sizes, self.batch, window=self.window, smallest=self.smallest, seed=self.seed, lengths=lengths
            )
        of_all = lengths(None) if lengths is not None else None
        return SampleOrder(self.rows, self.batch, smallest=self.smallest, seed=self.seed, lengths=of_all)


Shard = tuple[Rows, torch.Tensor, torch.Tensor | None]  # x, y, (B,) weights of the rows; None: every row counts once
Batch = tuple[int, list[Shard]]  # rows of the whole step, and what is of each shard of this rank


class StepRows(Dataset[Batch]):
    """Item `step`: what this rank needs for that step."""

    def __init__(self, rows: Split, plan: Plan, workload: Workload, *, logged_weight: float = 1.0) -> None:
        """`logged_weight`: of the rows that the inference log gave."""
        self._x = TensorRows(rows.x)
        self._y = rows.y if isinstance(rows.y, ShardedArray) else torch.from_numpy(rows.y)
        weights = row_weights(rows, logged_weight)
        self._weights = torch.from_numpy(weights) if weights is not None else None
        self._queries = queries_of(rows) if workload.objective.by_query else None
        # whole queries are drawn, of rows of any length
        lengths = self._x.lengths if self._queries is None and self._x.is_ragged else None
        self._plan, self._order = plan, plan.order(lengths)
        pieces = rows.x.pieces if isinstance(rows.x, ShardedInputs) else None
        self._pieces = pieces if isinstance(pieces, MappedSide) else None
        self._window = (-1, -1)
        self._stretches = None
        if isinstance(rows.x, ShardedInputs) and self._pieces is not None and isinstance(self._y, ShardedArray):
            self._stretches = Stretches(rows.x, self._y, self._pieces, self._window_of)
        self._augment = workload.augment if type(workload).augment is not Workload.augment else None

    def share(self) -> None:
        """Move the rows to shared memory: loader workers then copy nothing."""
        self._x.share()
        if isinstance(self._y, torch.Tensor):
            self._y.share_memory_()  # type: ignore[no-untyped-call]
        if self._weights is not None:
            self._weights.share_memory_()  # type: ignore[no-untyped-call]

    def __getitem__(self, step: int) -> Batch:
        """Rows of this rank's shards, augmented with numbers from (seed, step, shard)."""
        self._look_ahead(step)
        plan, shards = self._plan, list[Shard]()
        drawn = self._drawn(step)
        taken = self._taken(step, [places for places, _ in drawn])
        for shard, ((places, number), (x, y)) in enumerate(zip(drawn, taken, strict=True), plan.first):
            if number is not None:
                y = query_target(y, number)
            if self._augment is not None:
                rng = np.random.default_rng([shard_seed(plan.seed, step, shard), 1])
                x = aligned(augmented(self._augment, x, rng))
            weights = self._weights[torch.from_numpy(places)] if self._weights is not None else None
            shards.append((x, y, weights))
        indices = self._order.step(step)
        return len(indices) if self._queries is None else self._queries.size(indices), shards

    def _drawn(self, step: int) -> list[tuple[Array, Array | None]]:
        """The places of the rows of each shard of this rank, and for a ranking the query of each."""
        plan, indices = self._plan, self._order.step(step)
        found = [shard_rows(indices, shard, plan.shards) for shard in range(plan.first, plan.first + plan.count)]
        return [(one, None) if self._queries is None else self._queries.rows(one) for one in found]

    def _taken(self, step: int, drawn: Sequence[Array]) -> Iterable[tuple[Rows, torch.Tensor]]:
        """Inputs and targets at these places."""
        if self._stretches is not None:
            return self._stretches.shards(step, lambda one: [places for places, _ in self._drawn(one)])
        found = map(torch.from_numpy, drawn)
        return ((self._x.take(mine), self._targets(mine)) for mine in found)

    def _window_of(self, step: int) -> tuple[int, int]:
        """Epoch and window: what is mixed in them is held while they last."""
        order = self._order
        return order.window_of(step) if isinstance(order, WindowOrder) else (step // order.per_epoch, 0)

    def _look_ahead(self, step: int) -> None:
        """The shards of the next window are downloaded while this one is trained on."""
        if self._pieces is None or not isinstance(self._order, WindowOrder):
            return
        window = self._order.window_of(step)
        if window != self._window:
            epoch, number = self._window = window
            self._pieces.ahead(self._order.shards_of(epoch, number) + self._order.shards_of(epoch, number + 1))

    def _targets(self, mine: torch.Tensor) -> torch.Tensor:
        if isinstance(self._y, torch.Tensor):
            return self._y[mine]
        return torch.from_numpy(self._y[mine.numpy()]).clone()  # as torch aligns memory


def augmented(augment: Callable[[Any, np.random.Generator], Any], x: Rows, rng: np.random.Generator) -> Rows:
    """By the workload: an array, or arrays by name."""
    if isinstance(x, torch.Tensor):
        return torch.from_numpy(augment(x.numpy(), rng))
    changed = augment({name: one.numpy() for name, one in x.items()}, rng)
    return {name: torch.from_numpy(np.ascontiguousarray(changed[name])) for name in x}


class _From(Sampler[int]):
    def __init__(self, first: int, end: int) -> None:
        self._steps = range(first, end)

    def __iter__(self) -> Iterator[int]:
        return iter(self._steps)

    def __len__(self) -> int:
        return len(self._steps)


class _Handed(Dataset[Packed]):
    """The steps as a worker hands them over."""

    def __init__(self, steps: StepRows) -> None:
        self._steps = steps

    def __getitem__(self, step: int) -> Packed:
        return pack(self._steps[step])


def _begin(passages: Passages, bind: Callable[[], None] | None, worker: int) -> None:
    passages.take(worker)
    if bind is not None:
        bind()


def batches(
    dataset: StepRows, first: int, end: int, *, workers: int, pin: bool, bind: Callable[[], None] | None = None
) -> Iterator[Batch]:
    """Steps `first` to `end - 1`. Workers are spawned: forked ones can hang.

    Each calls `bind` when it starts: one that hangs while it prepares a batch would not notice that its rank has ended.
    """
    if workers == 0 or first >= end:
        yield from (dataset[step] for step in range(first, end))
        return
    dataset.share()
    with Passages(workers) as passages:
        loader = iter(DataLoader(
            _Handed(dataset),
            batch_size=None,
            sampler=_From(first, end),
            num_workers=workers,
            multiprocessing_context="spawn",
            prefetch_factor=4,
            pin_memory=pin,
            worker_init_fn=partial(_begin, passages, bind),
        ))  # fmt: skip
        passages.started()
        try:
            yield from map(unpack, loader)
        finally:  # torch has no public word for it but the iterator's end, which may come after the passages'
            loader._shutdown_workers()  # type: ignore[attr-defined]  # whoever stops early has workers that hand over
