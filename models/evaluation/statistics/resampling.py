"""Resamples of a quantity, fast and in bounded memory. Three roads to one distribution:

- *kinds*: rows of a metric of counts are of few kinds; their numbers in a resample are one multinomial draw.
- *units*: each unit is drawn by itself and the features are added up by a matrix product.
- *slabs*: above `EXACT_UNITS` units, for metrics whose sums are smooth. Units are ordered by their influence on the
  quantity and cut into slabs, fine at both tails; the numbers per slab are one multinomial draw, and what varies within
  slabs is added as a normal vector with exactly the covariance that the cut removed. Mean and covariance of the sums
  are then those of the bootstrap itself; what is lost is a part of their skewness, which is measured, and by
  Edgeworth's expansion moves a quantile by at most lost / (6 sqrt(U)) * |z^2 - 1| standard errors (Hall 1992, The
  Bootstrap and Edgeworth Expansion, sec. 2.3). Slabs are made finer until that is below a tenth of the Monte-Carlo
  error of the quantile.

All draws follow from the seed; cuts follow from ranks, so that rounding on another machine does not move them.

Shape legend: U units, M cells, K features, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from mlratchet.models.evaluation.statistics.quantity import Quantity, add_by
from mlratchet.models.evaluation.statistics.special import expit
from mlratchet.models.metrics.base import Array, SumMetric

CHUNK_VALUES = 4_000_000  # weights held at a time: bounded memory
EXACT_UNITS = 4096
SLABS = 512
MULTINOMIAL_COST = 12  # one multinomial cell costs about as much as so many index draws
SHIFT_OF_MONTE_CARLO = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """Units that are drawn as one: (M, K) features per draw and (M,) how many units each cell holds."""

    values: Array
    counts: Array
    within: Array | None = None
    """(K, K) symmetric root of the covariance that the cut into cells removed, per resample."""
    lost_skewness: float = 0.0

    def width(self) -> int:
        """Numbers held per resample while drawing."""
        n, m = int(self.counts.sum()), len(self.counts)
        return m if m * MULTINOMIAL_COST < n else 2 * n

    def draw(self, rng: np.random.Generator, size: int) -> Array:
        """(size, K) sums of as many draws with replacement as there are units."""
        n, m = int(self.counts.sum()), len(self.counts)
        if m * MULTINOMIAL_COST < n:
            drawn = rng.multinomial(n, self.counts / n, size=size)
        else:
            drawn = drawn_units(rng, n, size)
            if m != n:
                drawn = np.add.reduceat(drawn, np.cumsum(self.counts) - self.counts, axis=1)
        sums = np.asarray(drawn @ self.values, dtype=np.float64)
        if self.within is not None:
            sums = sums + rng.standard_normal((size, len(self.within))) @ self.within
        return sums


def drawn_units(rng: np.random.Generator, n: int, size: int) -> Array:
    """(size, n) how often each of n units is drawn in n draws."""
    at = rng.integers(0, n, size=(size, n)) + np.arange(size, dtype=np.int64)[:, None] * n
    return np.bincount(at.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def cells_of(quantity: Quantity, resamples: int) -> list[Cells]:
    """One per stratum."""
    found = quantity.kinds()
    if found is not None:
        place, table = found
        blocks = quantity.blocks or [np.arange(len(place))]
        counts = [np.bincount(place[at], minlength=len(table)) for at in blocks]
        return [Cells(values=table[count > 0], counts=count[count > 0]) for count in counts]
    assert isinstance(quantity.metric, SumMetric)
    if quantity.blocks is None and quantity.units > EXACT_UNITS and not quantity.metric.discrete:
        return [slabs_of(quantity, resamples)]
    features = np.concatenate(list(quantity.features()))
    blocks = quantity.blocks or [np.arange(len(features))]
    return [Cells(values=features[at], counts=np.ones(len(at), dtype=np.int64)) for at in blocks]


def slab_counts(n: int, slabs: int) -> Array:
    """Units per slab in the order of influence: even steps in the logit of the rank, single units at both ends."""
    reach = np.log(n)
    edges = np.rint(n * expit(np.linspace(-reach, reach, slabs + 1))).astype(np.int64)
    return np.diff(np.unique(np.concatenate([[0], edges, [n]])))


def slabs_of(quantity: Quantity, resamples: int) -> Cells:
    """Cut finer until the skewness that is lost moves no quantile by a tenth of its Monte-Carlo error."""
    influence = quantity.influence()
    standard = influence / (float(influence.std()) or 1.0)
    order = np.argsort(np.round(standard, 9), kind="stable")
    # at z = 1.645: a quantile's error over R resamples in standard errors, and |z^2 - 1| / 6 of the expansion
    monte_carlo = np.sqrt(0.05 * 0.95 / resamples) / 0.1031
    allowed = SHIFT_OF_MONTE_CARLO * monte_carlo * 6 * np.sqrt(len(order)) / 1.706
    slabs = SLABS
    while True:
        counts = slab_counts(len(order), slabs)
        slab = np.empty(len(order), dtype=np.int64)
        slab[order] = np.repeat(np.arange(len(counts)), counts)
        means = np.bincount(slab, standard) / counts
        lost = abs(float((standard**3).mean() - counts @ means**3 / len(order)))
        if lost <= allowed or slabs >= len(order) // 2:
            return _cut(quantity, slab, counts, lost)
        slabs *= 4


def _cut(quantity: Quantity, slab: Array, counts: Array, lost: float) -> Cells:
    """Two passes over the features: means per slab, and the covariance about them."""
    means = sum(add_by(place, chunk, len(counts)) for place, chunk in _placed(quantity, slab)) / counts[:, None]
    within = sum((chunk - means[place]).T @ (chunk - means[place]) for place, chunk in _placed(quantity, slab))
    values, vectors = np.linalg.eigh(within)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T  # symmetric: unique, whatever the eigenvectors
    return Cells(values=means, counts=counts, within=root, lost_skewness=lost)


def _placed(quantity: Quantity, slab: Array) -> Iterator[tuple[Array, Array]]:
    start = 0
    for chunk in quantity.features():
        yield slab[start : start + len(chunk)], chunk
        start += len(chunk)


def resampled(quantity: Quantity, *, resamples: int, seed: int) -> tuple[Array, str]:
    """(R,) values of the quantity over resamples, NaN where undefined, and a word on the road taken."""
    rng = np.random.default_rng(seed)
    if not isinstance(quantity.metric, SumMetric):
        return np.concatenate(list(_by_weights(quantity, rng, resamples))), ""
    cells = cells_of(quantity, resamples)
    width = max(block.width() + block.values.shape[1] for block in cells)
    values = []
    for size in chunk_sizes(resamples, width):
        sums = np.asarray(sum(block.draw(rng, size) for block in cells))
        values.append(quantity.of_sums(sums))
    return np.concatenate(values), f"{len(cells[0].counts)} slabs" if cells[0].within is not None else ""


def _by_weights(quantity: Quantity, rng: np.random.Generator, resamples: int) -> Iterator[Array]:
    blocks = quantity.blocks
    rows = len(quantity.sides[0].ids)
    for size in chunk_sizes(resamples, 2 * max(rows, quantity.units)):
        if blocks is None:
            yield quantity.of_weights(drawn_units(rng, quantity.units, size))
            continue
        weights = np.zeros((size, quantity.units))
        for at in blocks:
            weights[:, at] = drawn_units(rng, len(at), size)
        yield quantity.of_weights(weights)


def chunk_sizes(resamples: int, width: int) -> Iterator[int]:
    """Resamples at a time, so that `CHUNK_VALUES` weights are held."""
    step = max(1, CHUNK_VALUES // width)
    for start in range(0, resamples, step):
        yield min(step, resamples - start)
