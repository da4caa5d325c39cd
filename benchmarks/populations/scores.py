"""Probabilities, scores and numbers: log loss, calibration, areas, regression, rankings."""

from __future__ import annotations

import math

import numpy as np
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.sources.record import GROUP_COLUMN
from scipy.special import expit, ndtr

from populations.base import Population, Rows, binary_metrics, logits, rows, true_value


def log_loss(name: str, noise_a: float, noise_b: float, *, paired: bool) -> Population:
    """A calibrated truth seen through the noise of each model; the true value is that of `TRUTH_ROWS` rows."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        z = rng.normal(0, 2, n)
        y = (rng.random(n) < expit(z)).astype(np.int64)
        shared, own = rng.normal(0, 1, n), rng.normal(0, 1, (2, n))
        a, b = (z + noise * (0.8 * shared + 0.6 * o) for noise, o in zip((noise_a, noise_b), own, strict=True))
        return rows(y, logits(a)), rows(y, logits(b)) if paired else None

    metric = binary_metrics()[name]
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}",
        effect=f"noise {noise_a} against {noise_b}" if paired else f"noise {noise_a}",
        metric=metric, draw=draw, truth=true_value(metric, draw), sizes=(50, 200, 1000),
    )  # fmt: skip


def auc(shift_a: float, shift_b: float, positives: float, *, paired: bool) -> Population:
    """Binormal scores, correlated between the models: AUC = Phi(shift / sqrt 2)."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        y = (np.arange(n) < round(positives * n)).astype(np.int64)
        shared, own = rng.normal(0, 1, n), rng.normal(0, 1, (2, n))
        a, b = (shift * y + 0.8 * shared + 0.6 * o for shift, o in zip((shift_a, shift_b), own, strict=True))
        return rows(y, logits(a)), rows(y, logits(b)) if paired else None

    value_a, value_b = float(ndtr(shift_a / math.sqrt(2))), float(ndtr(shift_b / math.sqrt(2)))
    return Population(
        name=f"roc_auc, {'paired' if paired else 'one model'}",
        effect=f"AUC {value_a:.3f}" + (f" against {value_b:.3f}" if paired else "") + f", {positives:.0%} positive",
        metric=binary_metrics()["roc_auc"], draw=draw, truth=value_a - value_b if paired else value_a,
        sizes=(50, 200, 1000, 5000) if positives > 0.1 else (400, 1000, 5000),
    )  # fmt: skip


def average_precision() -> Population:
    """As for the AUC; two equal models, so that the true difference is 0."""
    like = auc(1.5, 1.5, 0.3, paired=True)
    return Population(
        name="average_precision, paired", effect="equal models, 30% positive", truth=0.0, draw=like.draw,
        metric=binary_metrics()["average_precision"], sizes=(50, 200),
    )  # fmt: skip


def rmse(scale: float, tail: str, *, paired: bool) -> Population:
    """Correlated errors of two regressions; normal, or with the heavy tails of Student's t with 8 degrees."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        e = rng.normal(0, 1, (3, n))
        if tail == "heavy":
            e = e * np.sqrt(6 / rng.chisquare(8, n))  # variance 1
        y = rng.normal(0, 3, n)
        a, b = scale * (0.8 * e[0] + 0.6 * e[1]), 0.8 * e[0] + 0.6 * e[2]
        return rows(y, y + a), rows(y, y + b) if paired else None

    return Population(
        name=f"rmse, {'paired' if paired else 'one model'}",
        effect=f"rmse {scale:.2f}" + (" against 1" if paired else "") + f", {tail} tails",
        metric=metrics_for("regression", ())["rmse"], draw=draw, truth=scale - 1.0 if paired else scale,
        sizes=(50, 200, 1000),
    )  # fmt: skip


def ndcg() -> Population:
    """NDCG@10 over queries of 12 rows, two equally noisy rankers."""
    size = 12

    def draw(rng: np.random.Generator, n: int) -> Rows:
        relevance = rng.integers(0, 3, n * size)
        shared, own = rng.normal(0, 1, n * size), rng.normal(0, 1, (2, n * size))
        group = [str(i // size) for i in range(n * size)]
        a, b = (rows(relevance, relevance + 0.8 * shared + 0.6 * o, **{GROUP_COLUMN: group}) for o in own)
        return a, b

    return Population(
        name="ndcg_at_10, paired", effect="equal rankers, 12 rows a query", draw=draw, truth=0.0,
        metric=metrics_for("ranking", ())["ndcg_at_10"], sizes=(30, 100),
    )  # fmt: skip
