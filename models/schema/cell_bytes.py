"""The bytes of a column of text, as NumPy sees them: what is asked of every byte is asked of all at once.

Nothing is copied. Shape legend: N cells, B bytes of all of them together.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Places = np.ndarray[Any, np.dtype[np.int64]]
FIRST, LAST = 0x21, 0x7E  # of ASCII's characters that are seen


def ends_and_bytes(cells: pa.Array) -> tuple[Places, Bytes]:
    """(N + 1,) where each cell of a column of text or bytes begins, and the end of the last one; and the bytes (B,)
    from the first on. What lies where a cell is null is among them."""
    width = np.int64 if str(cells.type).startswith("large") else np.int32
    buffers = cells.buffers()
    if buffers[1] is None or not len(cells):
        return np.zeros(len(cells) + 1, np.int64), np.zeros(0, np.uint8)
    ends = np.frombuffer(buffers[1], width)[cells.offset : cells.offset + len(cells) + 1]
    data = np.frombuffer(buffers[2] if buffers[2] is not None else b"", np.uint8)
    return (ends - ends[0]).astype(np.int64), data[ends[0] : ends[-1]]


def are_seen(data: Bytes) -> bool:
    """Whether all are ASCII's without blanks and control characters: nothing to strip and nothing to compose."""
    return not len(data) or bool(data.min() >= FIRST and data.max() <= LAST)


def holds_any(cells: pa.Array, wanted: frozenset[int]) -> bool:
    """Whether a byte of any cell (text) is one of these; it may say so of what lies where a cell is null."""
    data = ends_and_bytes(cells)[1]
    return any(bool((data - np.uint8(low) <= np.uint8(high - low)).any()) for low, high in _ranges(wanted))


def _ranges(wanted: frozenset[int]) -> list[tuple[int, int]]:
    """The same as ranges, both ends among them."""
    places = sorted(wanted)
    cuts = [0, *(at for at, (one, other) in enumerate(pairwise(places), 1) if other != one + 1), len(places)]
    return [(places[begin], places[end - 1]) for begin, end in pairwise(cuts)]
