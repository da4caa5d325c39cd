"""Which rows a step takes: a pure function of (seed, epoch), so a resume needs no saved position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.int64]]


def steps_per_epoch(rows: int, batch: int, world: int) -> int:
    """Global steps; a last batch with fewer rows than processes is left out."""
    full, rest = divmod(rows, batch)
    return full + (1 if rest >= world else 0)


def global_batches(rows: int, batch: int, world: int, *, seed: int, epoch: int) -> Iterator[Array]:
    """Row indices of each global step of an epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    for step in range(steps_per_epoch(rows, batch, world)):
        yield order[step * batch : (step + 1) * batch]
