"""Rows that depend on each other: patients, sessions, users."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from populations.base import Population, Rows, binary_metrics, logits, rows


def clustered() -> Population:
    """Accuracy of groups of ten rows that share their difficulty; units are the groups."""
    size = 10

    def draw(rng: np.random.Generator, n: int) -> Rows:
        hard = np.repeat(rng.normal(0, 1, (n, 1)), size, axis=0)[:, 0]
        right = [rng.random(n * size) < ndtr(1.0 + hard) for _ in range(2)]
        y = np.ones(n * size, dtype=np.int64)
        group = [str(i // size) for i in range(n * size)]
        a, b = (rows(y, logits(np.where(r, 1.0, -1.0)), patient=group) for r in right)
        return a, b

    return Population(
        name="accuracy, paired, over clusters", effect="groups of 10 rows", metric=binary_metrics()["accuracy"],
        draw=draw, truth=0.0, sizes=(30, 100), cluster="patient",
    )  # fmt: skip


def clustered_share(level: float, spread: float) -> Population:
    """Accuracy of one model over groups that share their difficulty, the more the wider `spread`. Most are small, a few
    have dozens of rows."""
    centre = float(ndtri(level)) * math.sqrt(1 + spread**2)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        group = np.repeat(np.arange(n), np.maximum(1, rng.lognormal(1, 1, n).round()).astype(int))
        hard = spread * rng.normal(0, 1, n)[group]
        right = rng.random(len(group)) < ndtr(centre + hard)
        y = np.ones(len(group), dtype=np.int64)
        return rows(y, logits(np.where(right, 1.0, -1.0)), patient=[str(one) for one in group]), None

    return Population(
        name="accuracy, one model, over clusters", draw=draw,
        effect=f"accuracy {level:.2f}, groups of 1 to 50 rows, spread {spread}",
        metric=binary_metrics()["accuracy"], truth=level, sizes=(15, 30, 100, 400), cluster="patient",
    )  # fmt: skip


def clustered_pairs() -> Population:
    """Two models that differ on 3 % of the rows, those of a group together."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        group = np.repeat(np.arange(n), rng.geometric(0.2, n))
        differ = rng.random(len(group)) < ndtr(float(ndtri(0.03)) * math.sqrt(2) + rng.normal(0, 1, n)[group])
        first, right = rng.integers(0, 2, n)[group] == 1, rng.random(len(group)) < 0.95
        y = np.ones(len(group), dtype=np.int64)
        patient = [str(one) for one in group]
        a, b = (
            rows(y, scale * logits(np.where(np.where(differ, who, right), 1.0, -1.0)), patient=patient)
            for who, scale in ((first, 1.0), (~first, 2.0))
        )
        return a, b

    return Population(
        name="accuracy, paired, over clusters", effect="3% differ, groups of 1 to 20 rows", draw=draw, truth=0.0,
        metric=binary_metrics()["accuracy"], sizes=(15, 30, 100, 400), cluster="patient",
    )  # fmt: skip
