"""Whether rows of numbers come from two worlds: a classifier between them, and the maximum mean discrepancy.

Sources: Lopez-Paz and Oquab (2017), Revisiting classifier two-sample tests, ICLR; Gretton et al. (2012), A kernel
two-sample test, JMLR 13, unbiased MMD^2 with a Gaussian kernel of the median distance; Hanley and McNeil (1982) for the
spread of an AUC.

Shape legend: N rows of the reference, M of the window, D numbers a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

Array = np.ndarray[Any, Any]

FOLDS = 5
PERMUTATIONS = 100
RIDGE = 0.1  # of the mean variance: rows are few for their width
MMD_ROWS = 256  # of each side: the table of distances stays small
FEWEST_TOLD_APART = 20  # rows of a window of which half fit a classifier
HALF = 0x40  # a bit of a row's check sum
OFTEN = 0.1  # share of the rows from which one that repeats is no longer chance, as the same empty input is


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well two sets of rows can be told apart."""

    effect: float
    """2 AUC - 1 on rows that the classifier was not fitted on: 0 not at all, 1 always. Not below 0."""
    interval: tuple[float, float]
    """At 95 %."""
    null_quantile: float
    """The effect that 95 % of permutations stay below."""
    mmd2: float
    """Unbiased estimate; about 0 without a drift."""
    mmd2_null_quantile: float


def told_apart(reference_ND: Array, window_MD: Array, rng: np.random.Generator) -> Separation:
    """Of two sets of rows, each of `FOLDS` rows or more, NaN nowhere."""
    rows, side = np.concatenate([reference_ND, window_MD]), np.r_[np.zeros(len(reference_ND)), np.ones(len(window_MD))]
    spread = rows.std(axis=0)
    rows = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    rows = np.concatenate([rows, rows**2], axis=1)  # a change of the spread alone is one, too
    rows[:, rows.shape[1] // 2 :] -= rows[:, rows.shape[1] // 2 :].mean(axis=0)
    folds = _together(rng.permutation(len(rows)) % FOLDS, np.concatenate([reference_ND, window_MD]))
    sides = np.stack([side, *(rng.permutation(side) for _ in range(PERMUTATIONS))], axis=1)
    areas = _areas(_scores(rows, sides, folds), sides, folds)
    effects = np.maximum(0.0, 2 * areas - 1)
    low, high = _interval(float(areas[0]), len(reference_ND), len(window_MD))
    mmd2, chance = _discrepancy(reference_ND, window_MD, rng)
    return Separation(
        effect=float(effects[0]),
        interval=(max(0.0, 2 * low - 1), max(0.0, 2 * high - 1)),
        null_quantile=float(np.quantile(effects[1:], 0.95)),
        mmd2=mmd2,
        mmd2_null_quantile=chance,
    )


def _scores(rows: Array, sides: Array, folds: Array) -> Array:
    """Scores of each row by a ridge regression on the other folds, for each column of sides at once."""
    found = np.zeros(sides.shape)
    for fold in range(FOLDS):
        ours = folds != fold
        x, y = rows[ours], sides[ours]
        centre = x.mean(axis=0)
        x = x - centre
        gram = x.T @ x
        gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
        found[~ours] = (rows[~ours] - centre) @ np.linalg.solve(gram, x.T @ (y - y.mean(axis=0)))
    return found


def _areas(scores: Array, sides: Array, folds: Array) -> Array:
    """AUC per column, by ranks within each fold: scores of two folds are of two fits."""
    areas, weights = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for fold in range(FOLDS):
        ours = folds == fold
        ranks = _ranks(scores[ours])
        positive = sides[ours].sum(axis=0)
        pairs = positive * (ours.sum() - positive)
        areas += (ranks * sides[ours]).sum(axis=0) - positive * (positive + 1) / 2
        weights += pairs
    return np.where(weights > 0, areas / np.maximum(weights, 1), 0.5)


def _ranks(scores: Array) -> Array:
    """Mean ranks from 1 per column: equal scores share theirs."""
    ordered = np.sort(scores, axis=0)
    found = np.empty(scores.shape)
    for column in range(scores.shape[1]):
        left = np.searchsorted(ordered[:, column], scores[:, column], side="left")
        right = np.searchsorted(ordered[:, column], scores[:, column], side="right")
        found[:, column] = (left + right + 1) / 2
    return found


def _interval(area: float, n: int, m: int) -> tuple[float, float]:
    """Hanley and McNeil (1982)."""
    inside = min(max(area, 1 / (n + m)), 1 - 1 / (n + m))
    one, two = inside / (2 - inside), 2 * inside**2 / (1 + inside)
    variance = (inside * (1 - inside) + (m - 1) * (one - inside**2) + (n - 1) * (two - inside**2)) / (n * m)
    half = 1.96 * math.sqrt(max(0.0, variance))
    return max(0.0, area - half), min(1.0, area + half)


def _discrepancy(reference_ND: Array, window_MD: Array, rng: np.random.Generator) -> tuple[float, float]:
    """Unbiased MMD^2, and the value that 95 % of permutations stay below."""
    a, b = (one[rng.permutation(len(one))[:MMD_ROWS]] for one in (reference_ND, window_MD))
    rows = np.concatenate([a, b])
    squares = (rows**2).sum(axis=1)
    distances = np.maximum(0.0, squares[:, None] + squares[None] - 2 * rows @ rows.T)
    width = float(np.median(distances[np.triu_indices(len(rows), 1)])) or 1.0
    kernel = np.exp(-distances / width)
    np.fill_diagonal(kernel, 0.0)
    side = np.r_[np.zeros(len(a)), np.ones(len(b))]
    sides = np.stack([side, *(rng.permutation(side) for _ in range(PERMUTATIONS))], axis=1)
    within = (sides * (kernel @ sides)).sum(axis=0)
    others = ((1 - sides) * (kernel @ (1 - sides))).sum(axis=0)
    across = (sides * (kernel @ (1 - sides))).sum(axis=0)
    n, m = len(a), len(b)
    found = within / (m * (m - 1)) + others / (n * (n - 1)) - 2 * across / (n * m)
    return float(found[0]), float(np.quantile(found[1:], 0.95))


def held_out(rows_ND: Array) -> Array:
    """(N,) whether a row is kept from the classifier of `held_out_places`: by its content, so that a row that is there
    twice, as requests are that clients repeat, is never asked about by what has seen it."""
    content = _contents(rows_ND)
    _, inverse, counts = np.unique(content, return_inverse=True, return_counts=True)
    often = counts[inverse] > OFTEN * len(rows_ND)
    return np.where(often, np.arange(len(rows_ND)) % 2 == 1, content & HALF > 0)


def _contents(rows_ND: Array) -> Array:
    """(N,) numbers that are the same for the same rows."""
    rows = np.ascontiguousarray(rows_ND, dtype=np.float32)
    return np.asarray([crc32(row.tobytes()) for row in rows], dtype=np.int64)


def _together(folds: Array, rows_ND: Array) -> Array:
    """(N,) folds in which the same rows share that of the first of them: what has seen one knows the others."""
    _, first, inverse, counts = np.unique(
        _contents(rows_ND), return_index=True, return_inverse=True, return_counts=True
    )  # fmt: skip
    return np.where(counts[inverse] > OFTEN * len(rows_ND), folds, folds[first][inverse])


def held_out_places(reference_ND: Array, window_MD: Array) -> Array:
    """Places, between 0 and 1, of the rows of the window that are `held_out` among those of the reference, by a
    classifier that was fitted on the others: 1/2 on average where both are of one world, their mean is the AUC. None
    where the rows of a side are so few that all are of one half.

    A classifier that has not seen a row cannot favour it, so the places of a window are as those of fresh rows.
    """
    kept = held_out(reference_ND), held_out(window_MD)
    if any(one.all() or not one.any() for one in kept):
        return np.zeros(0)
    fitted, asked = (
        _side_by_side(reference_ND[kept[0] == one], window_MD[kept[1] == one]) for one in (False, True)
    )  # fmt: skip
    centre, spread = fitted[0].mean(axis=0), fitted[0].std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)

    def widened(rows: Array) -> Array:
        scaled = (rows - centre) / spread
        return np.concatenate([scaled, scaled**2], axis=1)

    x, y = widened(fitted[0]), fitted[1]
    middle = x.mean(axis=0)
    gram = (x - middle).T @ (x - middle)
    gram[np.diag_indices_from(gram)] += RIDGE * max(float(np.trace(gram)) / len(gram), 1e-12)
    weights = np.linalg.solve(gram, (x - middle).T @ (y - y.mean()))
    scores = (widened(asked[0]) - middle) @ weights
    ours, theirs = np.sort(scores[asked[1] == 0]), scores[asked[1] == 1]
    below = [np.searchsorted(ours, theirs, side=side) for side in ("left", "right")]
    return np.asarray((below[0] + below[1]) / (2 * len(ours)))


def _side_by_side(reference: Array, window: Array) -> tuple[Array, Array]:
    """Rows of both, with which side each is of."""
    return np.concatenate([reference, window]), np.r_[np.zeros(len(reference)), np.ones(len(window))]
