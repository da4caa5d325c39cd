"""What a linear model is given of typed rows: numbers filled in, words one-hot, the parts of dates, words of texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from mlratchet.models.schema.fields import Kind, Schema

MOST = 100  # columns that one field becomes
SECONDS = {"hour": 86_400, "weekday": 7 * 86_400, "year": 31_557_600}  # of what comes again
WORD = re.compile(r"\w+")
Columns = np.ndarray[Any, Any]  # (N, any number) float64


def features_of(table: pa.Table, schema: Schema) -> Columns | None:
    """(N, F) of the inputs of typed rows; None where no kind of them has such columns, as pictures and sounds."""
    blocks = [BLOCKS[field.kind](table[name]) for name, field in schema.inputs.items() if field.kind in BLOCKS]
    whole = np.concatenate(blocks, axis=1) if blocks else np.zeros((len(table), 0))
    return whole if whole.shape[1] else None


def _numbers(column: pa.ChunkedArray) -> Columns:
    """Gaps filled in with the median, and whether there was one."""
    values = np.asarray(column.cast(pa.float64()).to_numpy(), dtype=float)
    gaps = np.isnan(values)
    filled = np.where(gaps, np.median(values[~gaps]) if not gaps.all() else 0.0, values)
    return np.stack([filled, gaps.astype(float)] if gaps.any() else [filled], axis=1)


def _times(column: pa.ChunkedArray) -> Columns:
    """Seconds since 1970, and sine and cosine of the places in a day, a week and a year."""
    seconds = column.cast(pa.int64()).to_numpy().astype(float) / 1e6
    seconds = np.where(np.isnan(seconds), np.nanmedian(seconds) if not np.isnan(seconds).all() else 0.0, seconds)
    turns = [2 * np.pi * (seconds % period) / period for period in SECONDS.values()]
    return np.stack([seconds, *(np.sin(turn) for turn in turns), *(np.cos(turn) for turn in turns)], axis=1)


def _words(column: pa.ChunkedArray) -> Columns:
    return _bag([[""] if cell is None else [cell] for cell in column.to_pylist()])


def _texts(column: pa.ChunkedArray) -> Columns:
    return _bag([WORD.findall((cell or "").lower()) for cell in column.to_pylist()])


def _letters(column: pa.ChunkedArray) -> Columns:
    cells = [cell or "" for cell in column.to_pylist()]
    return _bag([[*cell, *(cell[at : at + 2] for at in range(len(cell) - 1))] for cell in cells])


def _arrays(column: pa.ChunkedArray) -> Columns:
    rows = [np.ravel(np.asarray(cell, dtype=float)) for cell in column.to_pylist() if cell is not None]
    if len(rows) < len(column) or len({len(row) for row in rows}) != 1:
        return np.zeros((len(column), 0))
    return np.asarray(np.nan_to_num(np.stack(rows)))


def _bag(rows: Sequence[Sequence[str]]) -> Columns:
    """How often each of the most frequent tokens is in a row."""
    counts = Counter(token for row in rows for token in row)
    places = {token: at for at, (token, _) in enumerate(counts.most_common(MOST))}
    found = np.zeros((len(rows), len(places)))
    for at, row in enumerate(rows):
        for token in row:
            if token in places:
                found[at, places[token]] += 1
    return found


BLOCKS: Mapping[Kind, Callable[[pa.ChunkedArray], Columns]] = {
    "number": _numbers,
    "time": _times,
    "category": _words,
    "entity": _words,
    "text": _texts,
    "letters": _letters,
    "tensor": _arrays,
}
