"""Shares over clusters where the bootstrap cannot answer: few clusters, or few in which anything is wrong.

A model that is nearly always right leaves too little to resample, and would be held for being good. Then every cluster
counts as one row: the exact methods for independent rows, over as many rows as there would be if all rows of a cluster
were right or wrong together. For n_c rows in cluster c that is n^2 / sum(n_c^2) (Kish 1965, Survey Sampling, ch. 8;
Korn and Graubard 1998, Survey Methodology 24, put an effective number of rows into Clopper-Pearson in the same way).
Rows that depend on each other less make these bounds wider than they need be. What no method over so few clusters can
know is whether the large ones, of which there may be two, are harder than the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from mlratchet.models.evaluation.statistics.exact_pairs import paired_share
from mlratchet.models.evaluation.statistics.interval import EndByEnd
from mlratchet.models.evaluation.statistics.proportions import ExactBinomial
from mlratchet.models.metrics.base import Array
from mlratchet.models.metrics.ranking import unit_codes

AS_ONE = "a cluster of {cluster} counted as one row"


def effective_rows(tried: Array, cluster: Sequence[str]) -> tuple[float, int]:
    """Rows that n clustered ones are worth when a cluster is all right or all wrong, and the clusters with any.

    Args:
        tried: (N,) bool.
        cluster: N names.
    """
    code, count = unit_codes(cluster)
    sizes = np.bincount(code, tried, minlength=count)
    return float(sizes.sum() ** 2 / (sizes**2).sum()), int((sizes > 0).sum())


class ClusteredShare(ExactBinomial):
    """Clopper-Pearson over the effective number of rows, of which the same share is right."""

    def __init__(self, right: Array, tried: Array, cluster: Sequence[str], *, name: str) -> None:
        rows, clusters = effective_rows(tried, cluster)
        super().__init__(rows * float(right.sum() / tried.sum()), rows)
        self.units, self.method = clusters, f"{ExactBinomial.method}, {AS_ONE.format(cluster=name)}"


class ClusteredPairs(EndByEnd):
    """Exact score of two models over the effective number of rows. Counts are whole: each bound takes those that make
    it wider."""

    def __init__(self, ours: Array, theirs: Array, tried: Array, cluster: Sequence[str], *, name: str) -> None:
        self.gained, self.lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
        rows, units = effective_rows(tried, cluster)
        scale, n = rows / float(tried.sum()), max(math.floor(rows + 1e-9), 1)
        most, least = _whole(scale * self.lost, n)
        cautious = paired_share(min(_whole(scale * self.gained, n)[1], n - most), most, n)
        most = _whole(scale * self.gained, n)[0]
        generous = paired_share(most, min(least, n - most), n)
        super().__init__(cautious, generous, method=f"{cautious.method}, {AS_ONE.format(cluster=name)}", units=units)


def _whole(count: float, n: int) -> tuple[int, int]:
    """The next whole number above, n at most, and the one below."""
    return min(math.ceil(count - 1e-9), n), math.floor(count + 1e-9)
