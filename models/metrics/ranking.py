"""Metrics of rankings: y is the relevance of a row, the output its score, `columns["@group"]` its query.

The unit is the query: a value is the mean over queries, and resampling draws whole queries. A query without a relevant
row has no ideal order and is not counted (scikit-learn counts it as 0). Equal scores stand in every order at once:
each row of a tie takes the mean discount of the places they share.

Shape legend: N rows, Q queries in the order of their first row, K features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from mlratchet.models.metrics.base import Array, SumMetric, ratio
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN

CUTOFFS = (5, 10)


def unit_codes(values: Sequence[str]) -> tuple[Array, int]:
    """(N,) unit of each row, numbered in the order of first appearance, and how many there are."""
    _, first, inverse = np.unique(np.asarray(values, dtype=object).astype(str), return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int64)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse], len(first)


def _places(query: Array, score: Array) -> tuple[Array, Array]:
    """Order by (query, score descending), and the place of each sorted row within its query, from 0."""
    order = np.lexsort((-score, query))
    starts = np.flatnonzero(np.append(True, np.diff(query[order]) != 0))
    lengths = np.diff(np.append(starts, len(order)))
    return order, np.arange(len(order)) - np.repeat(starts, lengths)


def _shared(query: Array, score: Array, weight_of_place: Array) -> Array:
    """(N,) per sorted row the mean weight over its tie."""
    new = np.append(True, (np.diff(query) != 0) | (np.diff(score) != 0))
    starts = np.flatnonzero(new)
    lengths = np.diff(np.append(starts, len(query)))
    return np.repeat(np.add.reduceat(weight_of_place, starts) / lengths, lengths)


class _PerQuery(SumMetric):
    """Mean over the queries that have a relevant row."""

    direction = "higher"
    unit = "mean over queries"
    group_column = GROUP_COLUMN

    def __init__(self, k: int) -> None:
        self.k = k
        self.name = f"{self.stem}_at_{k}"

    stem: str

    @abstractmethod
    def of_queries(self, query: Array, count: int, relevance: Array, score: Array) -> Array:
        """(Q,) values; NaN for a query without a relevant row."""

    def refusal(self, rows: RowOutputs) -> str:
        """A ranking needs queries and relevances that are not negative."""
        if GROUP_COLUMN not in rows.columns:
            there = sorted(rows.columns)
            return f"{self.name} needs the query of each row in the column {GROUP_COLUMN!r}; there are {there}"
        return "a relevance is negative" if (rows.y < 0).any() else ""

    def why(self, rows: RowOutputs) -> str:  # noqa: ARG002
        """The only cause."""
        return "no query has a relevant row"

    def features(self, rows: RowOutputs) -> Array:
        """(Q, K) [value, 1] per query in the order of first appearance; [0, 0] without a relevant row."""
        query, count = unit_codes(rows.columns[GROUP_COLUMN])
        score = rows.output.astype(np.float64).reshape(len(query))
        found = self.of_queries(query, count, rows.y.astype(np.float64), score)
        defined = np.isfinite(found)
        return np.stack([np.where(defined, found, 0.0), defined.astype(np.float64)], axis=1)

    def sums(self, rows: RowOutputs) -> Array:
        """Over queries; a query is never cut by a chunk."""
        return np.asarray(self.features(rows).sum(axis=0))

    def from_sums(self, sums: Array) -> Array:
        """Mean over the queries that count."""
        return ratio(sums[..., 0], sums[..., 1])

    def gradient(self, sums_K: Array) -> Array:
        """Of a quotient."""
        return np.asarray(np.array([1.0, -sums_K[0] / sums_K[1]]) / sums_K[1])

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """The weight of a query's first row is the weight of the query."""
        query, _ = unit_codes(rows.columns[GROUP_COLUMN])
        first = np.unique(query, return_index=True)[1]
        return np.asarray(self.from_sums(weights_RN[:, first] @ self.features(rows)))

    def influence(self, rows: RowOutputs) -> Array:
        """(Q,) per query, times Q."""
        features = self.features(rows)
        return np.asarray(len(features) * (features @ self.gradient(features.sum(axis=0))))


class Ndcg(_PerQuery):
    """Discounted cumulative gain of the first k over that of the ideal order; linear gain."""

    stem = "ndcg"
    source = "Jarvelin and Kekalainen (2002), ACM TOIS 20; ties: McSherry and Najork (2008)"

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.formula = f"mean over queries of DCG@{k} / ideal DCG@{k}, DCG = sum(relevance / log2(1 + place))"

    def of_queries(self, query: Array, count: int, relevance: Array, score: Array) -> Array:
        """DCG over ideal DCG."""
        gains = []
        for key in (score, relevance):
            order, place = _places(query, key)
            discount = np.where(place < self.k, 1 / np.log2(place + 2.0), 0.0)
            shared = _shared(query[order], key[order], discount)
            gains.append(np.bincount(query[order], relevance[order] * shared, minlength=count))
        return ratio(gains[0], gains[1])


class RecallAt(_PerQuery):
    """Share of a query's relevant rows (relevance above 0) among its first k."""

    stem = "recall"
    source = "Manning, Raghavan and Schuetze (2008), Introduction to Information Retrieval, ch. 8"

    def __init__(self, k: int) -> None:
        super().__init__(k)
        self.formula = f"mean over queries of (relevant rows in the first {k}) / (relevant rows)"

    def of_queries(self, query: Array, count: int, relevance: Array, score: Array) -> Array:
        """Expected hits over relevant rows."""
        order, place = _places(query, score)
        shared = _shared(query[order], score[order], (place < self.k).astype(np.float64))
        hits = np.bincount(query[order], (relevance[order] > 0) * shared, minlength=count)
        return ratio(hits, np.bincount(query, relevance > 0, minlength=count))
