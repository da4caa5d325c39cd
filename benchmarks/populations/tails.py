"""Losses without a bound, made by few rows: tails of Student and of the lognormal, one huge error in 500, answers that
are sure and wrong."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from mlratchet.models.objectives.naming import metrics_for

from populations.base import Population, Rows, binary_metrics, logits, rows, true_value

SIZES = (50, 200, 1000)


def _absolute_t(degrees: float) -> float:
    """Mean of the absolute value of Student's t."""
    ratio = math.gamma((degrees + 1) / 2) / math.gamma(degrees / 2)
    return 2 * math.sqrt(degrees) * ratio / ((degrees - 1) * math.sqrt(math.pi))


Errors = Callable[[np.random.Generator, int], np.ndarray]
KINDS: dict[str, Errors] = {
    "normal": lambda rng, n: rng.normal(0, 1, n),
    "Student's t, 2.5 degrees": lambda rng, n: rng.standard_t(2.5, n),
    "lognormal, sigma 1.5": lambda rng, n: rng.lognormal(0, 1.5, n) * rng.choice([-1, 1], n),
    "1 in 500 is 30 off": lambda rng, n: np.where(rng.random(n) < 1 / 500, 30.0, 1.0) * rng.normal(0, 1, n),
    "1 in 50 is 30 off": lambda rng, n: np.where(rng.random(n) < 1 / 50, 30.0, 1.0) * rng.normal(0, 1, n),
}


MOMENTS: dict[str, tuple[float, float]] = {
    "normal": (math.sqrt(2 / math.pi), 1.0),
    "Student's t, 2.5 degrees": (_absolute_t(2.5), 5.0),
    "lognormal, sigma 1.5": (math.exp(1.5**2 / 2), math.exp(2 * 1.5**2)),
    "1 in 500 is 30 off": (math.sqrt(2 / math.pi) * (499 + 30) / 500, (499 + 900) / 500),
    "1 in 50 is 30 off": (math.sqrt(2 / math.pi) * (49 + 30) / 50, (49 + 900) / 50),
}
"""Means of the absolute and of the squared errors."""
TARGET = 10.0  # deviation of the targets


def tail(name: str, kind: str, *, paired: bool) -> Population:
    """Errors of one model; or, on half of the rows, of a candidate beside a champion with normal ones that are as large
    by the metric, while both have the same normal ones on the others."""
    metric, errors = metrics_for("regression", ())[name], KINDS[kind]
    absolute, squared = MOMENTS[kind]
    truth = {"mae": absolute, "rmse": math.sqrt(squared), "r2": 1 - squared / TARGET**2}[name]
    scale = absolute / math.sqrt(2 / math.pi) if name == "mae" else math.sqrt(squared)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        y = rng.normal(0, TARGET, n)
        if not paired:
            return rows(y, y + errors(rng, n)), None
        alike, shared = rng.random(n) < 0.5, scale * rng.normal(0, 1, n)
        a, b = (np.where(alike, shared, own) for own in (errors(rng, n), scale * rng.normal(0, 1, n)))
        return rows(y, y + a), rows(y, y + b)

    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, tails", effect=kind, metric=metric, draw=draw,
        truth=0.0 if paired else truth, sizes=SIZES,
    )  # fmt: skip


def sure_and_wrong(name: str, share: float, margin: float, *, paired: bool) -> Population:
    """A model that answers with log odds around 3, and is sure of the wrong class by `margin` on `share`."""
    metric = binary_metrics()[name]

    def draw(rng: np.random.Generator, n: int) -> Rows:
        y = rng.integers(0, 2, n)
        side = np.where(y == 1, 1.0, -1.0)
        strength = rng.normal(3, 1, n)
        ours = np.where(rng.random(n) < share, -margin, strength + rng.normal(0.15, 0.5, n))
        theirs = strength + rng.normal(0, 0.5, n)
        return rows(y, logits(side * ours)), rows(y, logits(side * theirs)) if paired else None

    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, sure and wrong",
        effect=f"{share:.1%} of rows wrong by log odds of {margin:g}", metric=metric, draw=draw,
        truth=true_value(metric, draw), sizes=(100, 300, 1000),
    )  # fmt: skip


def grouped_loss(name: str, *, paired: bool) -> Population:
    """Errors that groups of 5 to 20 rows share, the spread of which varies from group to group."""
    metric = metrics_for("regression", ())[name]

    def draw(rng: np.random.Generator, n: int) -> Rows:
        group = np.repeat(np.arange(n), rng.integers(5, 21, n))
        level, rough = rng.normal(0, 1, n)[group], rng.lognormal(0, 0.5, n)[group]
        y = rng.normal(0, 3, len(group))
        patient = [str(one) for one in group]
        a, b = (level + rough * rng.normal(0, 1, len(group)) for _ in range(2))
        return rows(y, y + a, patient=patient), rows(y, y + b, patient=patient) if paired else None

    truth = 0.0 if paired else metric.value(draw(np.random.default_rng(123), 20_000)[0])
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, over clusters", effect="errors shared by groups",
        metric=metric, draw=draw, truth=truth, sizes=(10, 15, 40), cluster="patient",
    )  # fmt: skip
