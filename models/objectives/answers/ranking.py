"""What the score of a row says among the rows of its query.

Shape legend: N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN

Array = np.ndarray[Any, Any]


def places(rows: RowOutputs) -> tuple[Array, Array]:
    """(N,) place of every row in its query by falling score, from 1, and (N,) the size of the query."""
    queries = np.unique(np.asarray(rows.columns[GROUP_COLUMN]), return_inverse=True)[1]
    order = np.lexsort((np.arange(len(queries)), -rows.output.reshape(len(queries)), queries))
    sizes = np.bincount(queries)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    place = np.empty(len(queries), dtype=np.int64)
    place[order] = np.arange(len(queries)) - starts[queries[order]] + 1
    return place, sizes[queries]


def place_texts(rows: RowOutputs, count: int) -> list[str]:
    """Of the first `count` rows."""
    place, size = places(rows)
    return [f"place {p} of {s}" for p, s in zip(place[:count], size[:count], strict=True)]


def lost_gain(rows: RowOutputs) -> Array:
    """(N,) the gain that the row's place loses, (2^relevance - 1) (1 - 1 / log2(place + 1)): the terms of DCG
    (Jarvelin and Kekalainen, 2002)."""
    place, _ = places(rows)
    return np.asarray((2.0 ** rows.y.astype(np.float64) - 1) * (1 - 1 / np.log2(place + 1)))
