"""Areas under curves of a score: ROC AUC and average precision, of one score or as a mean over classes or labels.

Neither is a function of sums over rows; both have a closed influence function, from which DeLong's variance follows.

Shape legend: N rows, C classes, G distinct scores in descending order, R resamples.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mlratchet.models.metrics.base import Array, Metric
from mlratchet.models.metrics.rows import RowOutputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """One score and who is positive. Undefined where one side is empty."""

    score: Array  # (N,) float64
    positive: Array  # (N,) bool


Views = Callable[[RowOutputs], list[Scored]]


def binary_view(rows: RowOutputs) -> list[Scored]:
    """Class 1 against class 0, scored by the difference of the logits: no probability rounds to 1."""
    logits = rows.output.astype(np.float64)
    return [Scored(score=logits[:, 1] - logits[:, 0], positive=rows.y == 1)]


def class_views(*indices: int) -> Views:
    """Each class against the rest, scored by the log odds of the class."""

    def views(rows: RowOutputs) -> list[Scored]:
        odds_NC = log_odds(rows.output)
        return [Scored(score=odds_NC[:, index], positive=rows.y == index) for index in indices]

    return views


def log_odds(output_NC: Array) -> Array:
    """(N, C) log(p / (1 - p)) of each class: orders as p does but never saturates at 1. Rounded to 1e-9, so that rows
    of one probability are equal whatever the order in which their logits were added up."""
    shifted = output_NC.astype(np.float64) - output_NC.max(axis=1, keepdims=True)
    share_NC = np.exp(shifted)
    others_NC = share_NC.sum(axis=1, keepdims=True) - share_NC
    top_N1 = output_NC.argmax(axis=1)[:, None]
    np.put_along_axis(share_NC, top_N1, 0.0, axis=1)  # the largest is added up without itself: no digits cancel
    np.put_along_axis(others_NC, top_N1, share_NC.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(np.round(shifted - np.log(np.maximum(others_NC, 1e-300)), 9))


def label_views(*indices: int) -> Views:
    """Each label of a multi-label row, scored by its logit."""

    def views(rows: RowOutputs) -> list[Scored]:
        logits = rows.output.astype(np.float64)
        return [Scored(score=logits[:, index], positive=rows.y[:, index] > 0) for index in indices]

    return views


class CurveMetric(Metric):
    """The mean over views of a value of (score, positive); NaN where any of them is undefined."""

    direction = "higher"

    def __init__(self, suffix: str, views: Views) -> None:
        self.name = f"{self.stem}{suffix}"
        self.views = views

    stem: str

    @abstractmethod
    def of_groups(self, positive_RG: Array, all_RG: Array) -> Array:
        """(R,) values from the weight of positives and of all rows per distinct score, descending."""

    @abstractmethod
    def influence_of(self, positive_G: Array, all_G: Array) -> tuple[Array, Array]:
        """Derivatives of the value by the weight of a positive and of a negative row at each distinct score."""

    def value(self, rows: RowOutputs) -> float:
        """Every row counted once."""
        return float(self.weighted(rows, np.ones((1, len(rows.ids))))[0])

    def weighted(self, rows: RowOutputs, weights_RN: Array) -> Array:
        """Per view: sort once, add the weights of equal scores."""
        found = []
        for view in self.views(rows):
            order, starts, _ = _distinct(view.score)
            sorted_RN = weights_RN[:, order]
            all_RG = np.add.reduceat(sorted_RN, starts, axis=1)
            positive_RG = np.add.reduceat(sorted_RN * view.positive[order], starts, axis=1)
            found.append(self.of_groups(positive_RG, all_RG))
        return np.asarray(np.mean(found, axis=0))

    def influence(self, rows: RowOutputs) -> Array:
        """Mean over views, times N."""
        total = np.zeros(len(rows.ids))
        views = self.views(rows)
        for view in views:
            order, starts, group = _distinct(view.score)
            all_G = np.add.reduceat(np.ones(len(order)), starts)
            positive_G = np.add.reduceat(view.positive[order].astype(np.float64), starts)
            of_positive, of_negative = self.influence_of(positive_G, all_G)
            total += np.where(view.positive, of_positive[group], of_negative[group])
        return total * len(rows.ids) / len(views)

    def why(self, rows: RowOutputs) -> str:
        """Which side is empty."""
        absent = any(not view.positive.any() for view in self.views(rows))
        return "a class has no row" if absent else "no row is outside the class"


def _distinct(score: Array) -> tuple[Array, Array, Array]:
    """Order (descending), start of each run of equals, and each row's run."""
    order = np.argsort(-score, kind="stable")
    new = np.append(True, np.diff(score[order]) != 0)
    group = np.empty(len(score), dtype=np.int64)
    group[order] = np.cumsum(new) - 1
    return order, np.flatnonzero(new), group


class RocAuc(CurveMetric):
    """Probability that a positive row scores above a negative one, ties counted half."""

    stem = "roc_auc"
    unit = "probability"
    formula = "P(score of a positive > score of a negative) + P(equal) / 2, mean over views"
    source = "Hanley and McNeil (1982); DeLong, DeLong and Clarke-Pearson (1988)"

    def of_groups(self, positive_RG: Array, all_RG: Array) -> Array:
        """Negatives of each score times the positives above them."""
        negative_RG = all_RG - positive_RG
        above_RG = np.cumsum(positive_RG, axis=1) - positive_RG / 2
        pairs = positive_RG.sum(axis=1) * negative_RG.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pairs > 0, (negative_RG * above_RG).sum(axis=1) / pairs, np.nan)

    def influence_of(self, positive_G: Array, all_G: Array) -> tuple[Array, Array]:
        """DeLong's structural components less the value, over the size of their own side."""
        negative_G = all_G - positive_G
        positives, negatives = positive_G.sum(), negative_G.sum()
        above = (np.cumsum(positive_G) - positive_G / 2) / positives  # share of positives above a negative
        below = 1 - (np.cumsum(negative_G) - negative_G / 2) / negatives  # share of negatives below a positive
        value = float((negative_G * above).sum() / negatives)
        return (below - value) / positives, (above - value) / negatives


class AveragePrecision(CurveMetric):
    """Precision at every positive row's own threshold, averaged; no interpolation."""

    stem = "average_precision"
    unit = "share of rows"
    formula = "sum over thresholds of (recall - recall before) * precision, mean over views"
    source = "Zhu (2004); Davis and Goadrich (2006) on why not interpolated"

    def of_groups(self, positive_RG: Array, all_RG: Array) -> Array:
        """Cumulative precision, weighted by the positives of each score."""
        positives = positive_RG.sum(axis=1)
        seen = np.cumsum(all_RG, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(seen > 0, np.cumsum(positive_RG, axis=1) / seen, 0.0)
            return np.where(positives > 0, (positive_RG * precision).sum(axis=1) / positives, np.nan)

    def influence_of(self, positive_G: Array, all_G: Array) -> tuple[Array, Array]:
        """A row moves the precision at its own threshold and at every lower one."""
        positives = positive_G.sum()
        seen, hits = np.cumsum(all_G), np.cumsum(positive_G)
        value = float((positive_G * hits / seen).sum() / positives)
        later_hit = np.cumsum((positive_G / seen)[::-1])[::-1] / positives
        later_row = np.cumsum((positive_G * hits / seen**2)[::-1])[::-1] / positives
        return (hits / seen - value) / positives + later_hit - later_row, -later_row
