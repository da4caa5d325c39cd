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

import numpy as np

Array = np.ndarray[Any, Any]

FOLDS = 5
PERMUTATIONS = 100
RIDGE = 0.1  # of the mean variance: rows are few for their width
MMD_ROWS = 256  # of each side: the table of distances stays small


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
    folds = rng.permutation(len(rows)) % FOLDS
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
