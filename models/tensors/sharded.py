"""Rows that lie in pieces, read where they are asked for as if they were one: what a side larger than the memory is.

Shape legend: N rows, P pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from mlratchet.models.tensors.named import Array, Column, Inputs, Ragged, Row
from mlratchet.models.tensors.spec import TensorSpec
from numpy.lib.mixins import NDArrayOperatorsMixin

BLOCK_BYTES, LEAST_ROWS = 64 << 20, 512  # of rows that are changed or sent somewhere at once: about, and at least
BLOCK_ROWS = 4096  # that are held at once where all rows are walked through


Lie = Sequence[tuple[int, Array, Array]]
"""As `by_piece` tells it of places."""
Empty = Callable[[str, tuple[int, ...], Any], Array]
"""(name of a column, shape, type) -> memory for it; of targets the name is empty."""


class Pieces(Protocol):
    """Rows in pieces, in order."""

    @property
    def ends(self) -> Array:
        """(P,) int64: rows up to the end of each piece."""
        ...

    def inputs(self, number: int) -> Inputs:
        """Of one piece."""
        ...


def by_piece(ends: Array, places: Array) -> Iterator[tuple[int, Array, Array]]:
    """Of rows somewhere: the number of a piece, which of `places` lie in it, and where in it. Raises ``IndexError`` for
    a place behind the last row."""
    if not len(places):
        return
    count = int(ends[-1])
    if int(places.max()) >= count or int(places.min()) < 0:
        raise IndexError(f"a row is out of range: got {int(places.min())} to {int(places.max())} of {count} rows")
    piece = np.searchsorted(ends, places, side="right")
    order = np.argsort(piece.astype(np.uint16) if len(ends) < 1 << 16 else piece, kind="stable")  # short keys: by radix
    piece, places = piece[order], places[order]
    cuts = [0, *(np.flatnonzero(piece[1:] != piece[:-1]) + 1).tolist(), len(order)]
    for at, end in pairwise(cuts):  # np.split costs more than the rows of a small batch
        number = int(piece[at])
        yield number, order[at:end], places[at:end] - (ends[number - 1] if number else 0)


def stretches_of(ends: Array, at: int, end: int) -> Iterator[tuple[int, slice]]:
    """The pieces of the rows from `at` to `end`, and which rows of each."""
    while at < end:
        number = int(np.searchsorted(ends, at, side="right"))
        begin = int(ends[number - 1]) if number else 0
        until = min(end, int(ends[number]))
        yield number, slice(at - begin, until - begin)
        at = until


def places_of(index: Any, count: int) -> Array:
    """An array of places, from a slice, places or booleans."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count), dtype=np.int64)
    chosen = np.asarray(index)
    if chosen.dtype == bool:
        return np.flatnonzero(chosen)
    places = chosen.astype(np.int64, copy=False)
    return np.where(places < 0, places + count, places)


class ShardedArray(NDArrayOperatorsMixin):
    """An array in pieces. An index or a slice of it is a plain array; whatever else is asked of it reads it whole."""

    def __init__(self, ends: Array, piece: Callable[[int], Array]) -> None:
        self._ends, self._piece = ends, piece
        first = piece(0)
        self.dtype: np.dtype[Any] = first.dtype
        self.shape = (int(ends[-1]), *first.shape[1:])
        self.ndim = first.ndim

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, tuple):
            return self[index[0]][(slice(None), *index[1:])]
        if isinstance(index, int | np.integer):
            return self[np.asarray([int(index)])][0]
        if isinstance(index, slice) and index.step in (None, 1):
            return self._stretch(*index.indices(len(self))[:2])
        places = places_of(index, len(self))
        found = np.empty((len(places), *self.shape[1:]), dtype=self.dtype)
        for number, where, local in by_piece(self._ends, places):
            found[where] = self._piece(number)[local]
        return found

    def as_they_lie(self, lie: Lie, empty: Empty) -> Array:
        """The rows of `lie`, in its order. `empty`: see `Empty`."""
        found = empty("", (sum(len(local) for _, _, local in lie), *self.shape[1:]), self.dtype)
        _fill(found, lie, self._piece)
        return found

    def _stretch(self, at: int, end: int) -> Array:
        found = np.empty((max(0, end - at), *self.shape[1:]), dtype=self.dtype)
        done = 0
        for number, local in stretches_of(self._ends, at, end):
            found[done : done + local.stop - local.start] = self._piece(number)[local]
            done += local.stop - local.start
        return found

    def __iter__(self) -> Iterator[Any]:
        for at in range(0, len(self), BLOCK_ROWS):
            yield from self[at : at + BLOCK_ROWS]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        whole = self._stretch(0, len(self))
        return whole if dtype is None else whole.astype(dtype, copy=bool(copy))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        plain = [np.asarray(one) if isinstance(one, ShardedArray) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy or a pickle that is not whole yet
            raise AttributeError(name)
        return getattr(np.asarray(self), name)


class ShardedInputs(Inputs):
    """Inputs in pieces: `take` and `rows` give plain ones. Columns are in pieces, too; a ragged one is read whole."""

    __slots__ = ("_one", "_pieces")

    def __init__(self, pieces: Pieces) -> None:
        self._pieces, self._one = pieces, _copied(pieces.inputs(0).rows(slice(1)))
        self.columns = _Columns(pieces, self._one)

    def __len__(self) -> int:
        return int(self._pieces.ends[-1])

    def __reduce__(self) -> Any:
        return ShardedInputs, (self._pieces,)

    @property
    def ragged(self) -> tuple[str, ...]:
        """See the base."""
        return self._one.ragged

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        """See the base."""
        return self._one.specs

    @property
    def array(self) -> Array:
        """See the base: an array in pieces."""
        return super().array if self.is_one else self._one.array

    def take(self, indices: Any) -> Inputs:
        """See the base: a plain one, copied."""
        places = places_of(indices, len(self))
        if not self._one.ragged:
            return self._filled(places)
        parts = [(where, self._pieces.inputs(n).take(local)) for n, where, local in by_piece(self._pieces.ends, places)]
        if not parts:
            return self._one.rows(slice(0))
        whole = Inputs.concat([part for _, part in parts])
        if len(parts) == 1:
            return whole
        return whole.take(np.argsort(np.concatenate([where for where, _ in parts]), kind="stable"))

    def _filled(self, places: Array) -> Inputs:
        """Each row is copied once, to where it belongs."""
        found = {
            name: np.empty((len(places), *one.shape[1:]), one.dtype)
            for name, one in self._one.columns.items()
            if isinstance(one, np.ndarray)
        }
        for number, where, local in by_piece(self._pieces.ends, places):
            columns = self._pieces.inputs(number).columns
            for name, column in found.items():
                column[where] = columns[name][local]  # type: ignore[index]  # none is ragged
        return Inputs(found)

    def as_they_lie(self, lie: Lie, empty: Empty) -> Inputs:
        """The rows of `lie`, in its order. `empty`: see `Empty`."""
        if self._one.ragged:
            return Inputs.concat(
                [self._one.rows(slice(0)), *(self._pieces.inputs(n).take(local) for n, _, local in lie)]
            )
        found = {
            name: empty(name, (sum(len(local) for _, _, local in lie), *one.shape[1:]), one.dtype)
            for name, one in self._one.columns.items()
            if isinstance(one, np.ndarray)
        }
        for name, column in found.items():
            _fill(column, lie, lambda number, name=name: np.asarray(self._pieces.inputs(number).columns[name]))  # type: ignore[misc]  # the name of now
        return Inputs(found)

    def rows(self, part: slice) -> Inputs:
        """See the base: a plain one, copied."""
        at, end, step = part.indices(len(self))
        if step != 1:
            return self.take(part)
        stretches = stretches_of(self._pieces.ends, at, end)
        parts = [self._pieces.inputs(number).rows(local) for number, local in stretches]
        return _copied(parts[0]) if len(parts) == 1 else Inputs.concat(parts or [self._one.rows(slice(0))])

    @property
    def pieces(self) -> Pieces:
        """Where the rows are."""
        return self._pieces

    def lengths(self, places: Array | None = None) -> Array:
        """(N,) of all ragged columns together, of which there is one at least; `places`: of these rows, in their pieces
        alone."""
        wanted = places if places is not None else np.arange(len(self))
        found = np.zeros(len(wanted), np.int64)
        for number, where, local in by_piece(self._pieces.ends, wanted):
            piece = self._pieces.inputs(number)
            found[where] = np.sum([_ragged(piece, name).lengths for name in self.ragged], axis=0)[local]
        return found

    def examples(self) -> Iterator[Row]:
        """See the base; a block of rows at a time."""
        for at in range(0, len(self), BLOCK_ROWS):
            yield from self.rows(slice(at, at + BLOCK_ROWS)).examples()


class ChangedBlocks:
    """Pieces that are made of the rows of others, a block after the other, when they are looked at; the last one is
    held. `change`: of the number of a block and its rows, to as many."""

    def __init__(self, x: ShardedInputs, change: Callable[[int, Inputs], Inputs]) -> None:
        self._x, self._change, self._blocks = x, change, blocks_of(x)
        self.ends = np.asarray([block.stop for block in self._blocks], dtype=np.int64)
        self._number, self._held = -1, x.rows(slice(0))

    def inputs(self, number: int) -> Inputs:
        """See `Pieces`."""
        if number != self._number:
            self._held = self._change(number, self._x.rows(self._blocks[number]))
            self._number = number
        return self._held


def blocks_of(x: Inputs) -> list[slice]:
    """Stretches of rows that fit in memory, of a multiple of `LEAST_ROWS` each but for the last; one, where all are in
    memory."""
    if not isinstance(x, ShardedInputs):
        return [slice(0, len(x))]
    first = x.pieces.inputs(0)
    row_bytes = max(1, first.nbytes // max(1, len(first)))
    step = max(1, BLOCK_BYTES // (row_bytes * LEAST_ROWS)) * LEAST_ROWS
    return [slice(at, min(at + step, len(x))) for at in range(0, len(x), step)]


def changed(x: Inputs, change: Callable[[int, Inputs], Inputs]) -> Inputs:
    """All rows changed: at once where they are in memory, as block 0, else a block at a time when somebody looks."""
    return ShardedInputs(ChangedBlocks(x, change)) if isinstance(x, ShardedInputs) else change(0, x)


def _fill(column: Array, lie: Lie, piece: Callable[[int], Array]) -> None:
    """Rows of pieces, one piece after the other; `take` is several times faster than an index, where it copies no more
    than the rows."""
    done = 0
    for number, _, local in lie:
        rows, into = piece(number), column[done : done + len(local)]
        if rows.flags.c_contiguous and rows.flags.aligned and rows.dtype == into.dtype:
            rows.take(local, axis=0, out=into, mode="clip")
        else:
            into[...] = rows[local]
        done += len(local)


def _ragged(rows: Inputs, name: str) -> Ragged:
    found = rows.columns[name]
    assert isinstance(found, Ragged), "one of `ragged`"
    return found


def _copied(rows: Inputs) -> Inputs:
    """Nobody may write into what lies on the disk."""
    return Inputs(
        {
            name: Ragged(one.values.copy(), one.offsets.copy()) if isinstance(one, Ragged) else one.copy()
            for name, one in rows.columns.items()
        }
    )


class _Columns(Mapping[str, Column]):
    """The columns of sharded inputs, by name."""

    def __init__(self, pieces: Pieces, one: Inputs) -> None:
        self._pieces, self._one = pieces, one

    def __getitem__(self, name: str) -> Column:
        pieces = self._pieces
        if not isinstance(self._one.columns[name], Ragged):
            return ShardedArray(pieces.ends, lambda number: pieces.inputs(number).columns[name])  # type: ignore[return-value, arg-type]  # an array in all that is asked of it
        whole = Inputs.concat([Inputs({name: pieces.inputs(n).columns[name]}) for n in range(len(pieces.ends))])
        return whole.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._one.columns)

    def __len__(self) -> int:
        return len(self._one.columns)
