"""The order of rows that do not fit on the disk: shards in random order, and the rows of a window of shards mixed.

A pure function of (sizes of the shards, seed, epoch, step), so any number of ranks and loader workers agree, and a
resume looks at one window. At once only the shards of two windows are read.

Shape legend: S shards, W shards of a window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
from mlratchet.models.data.mapped import MappedSide
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.training.order import Array, bucketed

HELD = 2  # windows: a step may take the end of one and the begin of the next
SMALL_ROW = 16 << 10  # bytes: of a larger one, what lies around a place is mostly its own
AHEAD = 4  # shards that are downloaded side by side while the first one is waited for
SPARE = 8  # copies beside those that are trained on: of the other sides


class WindowOrder:
    """The global order of all steps, as `SampleOrder`."""

    def __init__(
        self,
        sizes: Sequence[int],
        batch: int,
        *,
        window: int,
        smallest: int,
        seed: int,
        lengths: Callable[[Array], Array] | None = None,
    ) -> None:
        """`sizes` (S,): rows of each shard; `window`: W; `lengths`: of rows, which then meet others of about the same
        length; the others as for `SampleOrder`."""
        self.batch, self._window, self._seed, self._lengths = batch, window, seed, lengths
        self._sizes = np.asarray(sizes, dtype=np.int64)
        self._begins = np.cumsum(self._sizes) - self._sizes
        self.rows = int(self._sizes.sum())
        full, rest = divmod(self.rows, batch)
        self.per_epoch = full + (1 if rest >= smallest else 0)
        self._epoch = -1
        self._shards: Array = np.zeros(0, np.int64)  # of the epoch, in its order
        self._ends: Array = np.zeros(0, np.int64)  # rows up to the end of each window
        self._mixed: OrderedDict[tuple[int, int], Array] = OrderedDict()

    def step(self, step: int) -> Array:
        """Row indices of global step `step`, counted from the begin of training."""
        epoch, at = divmod(step, self.per_epoch)
        begin, end = at * self.batch, min((at + 1) * self.batch, self.rows)
        self._enter(epoch)
        parts = []
        while begin < end:
            number = int(np.searchsorted(self._ends, begin, side="right"))
            first = int(self._ends[number - 1]) if number else 0
            until = min(end, int(self._ends[number]))
            parts.append(self._rows_of(number, first)[begin - first : until - first])
            begin = until
        return np.concatenate([*parts, np.zeros(0, np.int64)])

    def window_of(self, step: int) -> tuple[int, int]:
        """Epoch and window in which a step begins."""
        epoch, at = divmod(step, self.per_epoch)
        self._enter(epoch)
        return epoch, int(np.searchsorted(self._ends, at * self.batch, side="right"))

    def shards_of(self, epoch: int, window: int) -> list[int]:
        """Of one window; behind the last one of an epoch, those of the next epoch's first."""
        order = self._order(epoch)
        if window * self._window >= len(order):
            order, window = self._order(epoch + 1), 0
        return [int(shard) for shard in order[window * self._window : (window + 1) * self._window]]

    def _order(self, epoch: int) -> Array:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self._sizes))

    def _enter(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._epoch, self._shards = epoch, self._order(epoch)
            ends = np.cumsum(self._sizes[self._shards])
            self._ends = np.append(ends[self._window - 1 : -1 : self._window], ends[-1])

    def _rows_of(self, number: int, first: int) -> Array:
        key = (self._epoch, number)
        if key not in self._mixed:
            shards = self._shards[number * self._window : (number + 1) * self._window]
            rows = np.concatenate([np.arange(self._begins[s], self._begins[s] + self._sizes[s]) for s in shards])
            rng = np.random.default_rng([self._seed, self._epoch, number])
            rows = rng.permutation(rows)
            if self._lengths is not None:
                head = min(-first % self.batch, len(rows))  # they fill the last batch of the window before
                rest = rows[head:]
                found = self._lengths(rest)
                places = bucketed(np.arange(len(rest)), found, self.batch, rng)
                rows = np.concatenate([rows[:head], rest[places]])
            self._mixed[key] = rows
            while len(self._mixed) > HELD:
                self._mixed.popitem(last=False)
        self._mixed.move_to_end(key)
        return self._mixed[key]


def hold_for_training(pieces: MappedSide, window: int | None, *, room_bytes: int) -> None:
    """Keep as many shards open as the order of rows looks at by turns, and read them as it does. `room_bytes`: what all
    copies may take.

    Raises ``ConfigurationError`` where they are more than that; the message says which window would do.
    """
    count = len(pieces.ends)
    rows = np.diff(pieces.ends, prepend=0)
    shard_bytes = pieces.size_bytes(0) * int(rows.max()) // max(1, int(rows[0]))  # rows are of about the same size
    held = min(count, HELD * window if window is not None else count)
    ahead = window or 0
    if (min(count, held + ahead) + SPARE) * shard_bytes > room_bytes and count > SPARE:
        fits = int(room_bytes // shard_bytes - SPARE) // (HELD + 1)
        advice = f"write train.shuffle_window: {fits}, or " if fits >= 1 else ""
        raise ConfigurationError(
            f"the training rows are about {count} shards of {shard_bytes:,} bytes, of which {held} are read by turns, "
            f"and copies on this machine may take {room_bytes:,} bytes; {advice}raise RATCHET_SHARD_CACHE_BYTES"
        )
    pieces.keep(held)
    pieces.look_at_random(window is None and shard_bytes <= SMALL_ROW * max(1, int(rows.max())))
    if window is None:
        pieces.ahead(range(count))
