"""How well boxes of several classes are found on pictures: for objectives whose answer is a set of boxes.

Shape legend: N rows, M boxes of all rows together, C classes, D found boxes of one class by falling score, R resamples.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from mlratchet.models.metrics.base import Array, Metric
from mlratchet.models.metrics.rows import RowOutputs

TOGETHER = 64  # resamples at a time: bounded memory
STEP = 1e-3  # of a row's weight, for the derivative


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxesOfRows:
    """Boxes, each with its row."""

    row: Array  # (M,) int
    kind: Array  # (M,) int, the class
    box: Array  # (M, 4) left, top, right, bottom
    score: Array  # (M,) of what was found: the higher the surer


class MeanAveragePrecision(Metric):
    """The area under precision by recall (all points), mean over classes. A subclass says which boxes were found, with
    however low a score, and which were wanted."""

    name, direction, unit = "map_50", "higher", "share"
    formula = "mean over classes of the area under precision by recall; found: IoU of at least 0.5"
    source = "Everingham et al., IJCV 88(2), 2010"
    least_overlap = 0.5

    @abstractmethod
    def found(self, output: Array) -> BoxesOfRows:
        """Of outputs (N, ...)."""

    @abstractmethod
    def wanted(self, y: Array) -> BoxesOfRows:
        """Of targets (N, ...)."""

    def value(self, rows: RowOutputs) -> float:
        """Every row once."""
        return float(self.weighted(rows, np.ones((1, len(rows.ids))))[0])

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """Every box counts as often as its row."""
        found, wanted = self.found(rows.output), self.wanted(rows.y)
        hit = hits(found, wanted, self.least_overlap)
        areas = []
        for kind in np.unique(wanted.kind):
            ours = np.flatnonzero(found.kind == kind)
            ours = ours[np.argsort(-found.score[ours], kind="stable")]
            rows_wanted = wanted.row[wanted.kind == kind]
            parts = [
                _areas(some[:, found.row[ours]], hit[ours], some[:, rows_wanted].sum(axis=1))
                for some in np.split(weights_RN, range(TOGETHER, len(weights_RN), TOGETHER))
            ]
            areas.append(np.concatenate(parts))
        if not areas:
            return np.full(len(weights_RN), np.nan)
        known = ~np.isnan(areas)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(known, areas, 0.0).sum(axis=0) / known.sum(axis=0))

    def influence(self, rows: RowOutputs) -> Array:
        """Central differences of each row's weight."""
        count = len(rows.ids)
        moved = [self.weighted(rows, 1.0 + sign * STEP * np.eye(count)) for sign in (1.0, -1.0)]
        return np.asarray(count * (moved[0] - moved[1]) / (2 * STEP))


def hits(found: BoxesOfRows, wanted: BoxesOfRows, least: float) -> Array:
    """(M,) bool: whether each found box is the surest of its class on a wanted one that overlaps it enough."""
    taken, hit = np.zeros(len(wanted.row), dtype=bool), np.zeros(len(found.row), dtype=bool)
    for at in np.argsort(-found.score, kind="stable"):
        near = np.flatnonzero((wanted.row == found.row[at]) & (wanted.kind == found.kind[at]) & ~taken)
        if not len(near):
            continue
        overlap = overlaps(found.box[at], wanted.box[near])
        best = int(overlap.argmax())
        if overlap[best] >= least:
            taken[near[best]] = hit[at] = True
    return hit


def overlaps(one: Array, others: Array) -> Array:
    """(M,) intersection over union of a box (4,) with others (M, 4)."""
    size = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    both = np.clip(size, 0, None).prod(axis=1)
    either = (one[2:] - one[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1) - both
    return np.asarray(np.where(either > 0, both / np.where(either > 0, either, 1.0), 0.0))


def _areas(weights_RD: Array, hit_D: Array, wanted_R: Array) -> Array:
    """(R,) area under the highest precision that is reached at each recall or beyond; NaN where none is wanted."""
    right, tried = np.cumsum(weights_RD * hit_D, axis=1), np.cumsum(weights_RD, axis=1)
    precision = np.where(tried > 0, right / np.where(tried > 0, tried, 1.0), 0.0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    area = (best * weights_RD * hit_D).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(wanted_R > 0, area / wanted_R, np.nan))
