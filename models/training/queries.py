"""Rankings: what a step draws is whole queries, whose rows must meet in one loss.

See `models/objectives/losses/ranking.py` for the losses and their target.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mlratchet.models.errors import DataError
from mlratchet.models.sources.record import GROUP_COLUMN, Split
from mlratchet.models.tensors.batch import Batch, cut_batch

Array = np.ndarray[Any, Any]


class Queries:
    """The rows of each query, by its number in the order of first appearance."""

    def __init__(self, names: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        query = np.asarray([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
        self._rows = np.argsort(query, kind="stable")
        self._sizes = np.bincount(query, minlength=len(numbers))
        self._starts = np.cumsum(self._sizes) - self._sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, queries: Array) -> int:
        """Rows of these queries."""
        return int(self._sizes[queries].sum())

    def rows(self, queries: Array) -> tuple[Array, Array]:
        """Row indices of these queries, one query after the other, and each row's query: 0, 1, ..."""
        sizes = self._sizes[queries]
        number = np.repeat(np.arange(len(queries)), sizes)
        within = np.arange(len(number)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self._rows[self._starts[queries][number] + within], number


def queries_of(rows: Split) -> Queries:
    """Of a side of a ranking. Raises ``DataError`` when its rows do not name their query."""
    names = rows.columns.get(GROUP_COLUMN, [])
    if len(names) != len(rows.ids) or not all(names):
        raise DataError(
            f"a ranking needs the query of every row in Record.columns[{GROUP_COLUMN!r}]; "
            f"{sum(map(bool, names))} of {len(rows.ids)} rows name one"
        )
    return Queries(names)


def query_target(relevance: torch.Tensor, number: Array) -> torch.Tensor:
    """(B, 2) for a ranking loss."""
    return torch.stack([relevance.float(), torch.from_numpy(number).float()], dim=1)


def split_queries(x: Batch, target: torch.Tensor, most: int) -> list[tuple[Batch, torch.Tensor]]:
    """At most `most` pieces of whole queries."""
    ends = torch.nonzero(target[1:, 1] != target[:-1, 1]).flatten() + 1
    cuts = [int(ends[len(ends) * at // most]) for at in range(1, most)] if len(ends) >= most else ends.tolist()
    return list(zip(cut_batch(x, sorted(set(cuts))), target.tensor_split(sorted(set(cuts))), strict=True))
