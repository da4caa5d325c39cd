"""Which rows a step takes: a pure function of (seed, step), so a resume needs no saved position.

Shape legend: V shards (in `fast` mode: processes).
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.int64]]
POOL = 32  # batches whose rows are sorted by length together: a larger one pads less and is less random


class SampleOrder:
    """The global order of all steps. The same for every process, loader worker and resume."""

    def __init__(self, rows: int, batch: int, *, smallest: int, seed: int, lengths: Array | None = None) -> None:
        """`smallest`: a last batch of an epoch with fewer rows is left out. `lengths` (rows,): rows of about the same
        length meet in a batch."""
        self.rows, self.batch, self._seed, self._lengths = rows, batch, seed, lengths
        full, rest = divmod(rows, batch)
        self.per_epoch = full + (1 if rest >= smallest else 0)
        self._epoch = -1
        self._permutation: Array = np.zeros(0, np.int64)

    def step(self, step: int) -> Array:
        """Row indices of global step `step`, counted from the begin of training."""
        epoch, at = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._seed, epoch])
            self._permutation = rng.permutation(self.rows)
            if self._lengths is not None:
                self._permutation = bucketed(self._permutation, self._lengths, self.batch, rng)
            self._epoch = epoch
        return self._permutation[at * self.batch : (at + 1) * self.batch]


def bucketed(order: Array, lengths: Array, batch: int, rng: np.random.Generator) -> Array:
    """The same rows in whole batches of about one length each, and those in random order; what fills no batch stays
    at the end. A function of (seed, epoch, lengths) as `rng` is of (seed, epoch)."""
    whole = len(order) // batch * batch
    pools = [order[at : min(at + POOL * batch, whole)] for at in range(0, whole, POOL * batch)]
    ordered = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    batches = np.concatenate([*ordered, order[:0]]).reshape(-1, batch)
    return np.concatenate([rng.permutation(batches).reshape(-1), order[whole:]])


def shard_rows(indices: Array, shard: int, shards: int) -> Array:
    """The rows of one shard: sizes differ by at most one."""
    return indices[shard::shards]


def shard_seed(seed: int, step: int, shard: int) -> int:
    """Seed of the random numbers of one shard of one step (63 bits, splitmix64 over the three)."""
    mixed = seed
    for part in (step, shard):
        mixed = (mixed + 0x9E3779B97F4A7C15 + part) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        mixed ^= mixed >> 31
    return mixed >> 1
