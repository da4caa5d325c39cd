"""Few rows that count: classes of one to three rows, rankings of few users."""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for
from mlratchet.models.sources.record import GROUP_COLUMN

from populations.base import Population, Rows, rows, true_value


def many_classes(name: str, classes: int, per_class: int, right: float, *, paired: bool) -> Population:
    """Classes of equal share, each with about `per_class` rows, of which a model finds `right`."""
    names = tuple(f"k{i}" for i in range(classes))
    metric = metrics_for("classification", names)[name]
    one = np.eye(classes, dtype=np.float32)

    def draw(rng: np.random.Generator, n: int) -> Rows:
        y = rng.integers(0, classes, n)

        def guess() -> RowOutputs:
            wrong = (y + rng.integers(1, classes, n)) % classes
            return rows(y, one[np.where(rng.random(n) < right, y, wrong)])

        a = guess()
        return a, guess() if paired else None

    truth = 0.0 if paired else true_value(metric, lambda rng, n: draw(rng, n // 4))
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, {classes} classes", draw=draw,
        effect=f"about {per_class} rows each, {right:.0%} right", metric=metric, truth=truth,
        sizes=(classes * per_class,),
    )  # fmt: skip


def users(name: str, *, paired: bool, skill: float = 1.0, rated: int = 3) -> Population:
    """Rankings of users with 5 to 40 rows, `rated` of them relevant; some users are served badly."""
    metric = metrics_for("ranking", ())[name]

    def draw(rng: np.random.Generator, n: int) -> Rows:
        sizes = rng.integers(5, 41, n)
        query = np.repeat(np.arange(n), sizes)
        within = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        relevance = (within < rated).astype(np.float64)
        strength = np.where(rng.random(n) < 0.1, 0.0, 3.0 * skill)[query]
        group = [str(one) for one in query]
        a, b = (rows(relevance, strength * relevance + rng.normal(0, 1, len(query)), **{GROUP_COLUMN: group})
                for _ in range(2))  # fmt: skip
        return a, b if paired else None

    big = draw(np.random.default_rng(123), 60_000)[0]
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, users", draw=draw,
        effect=f"users with {rated} relevant rows, 1 in 10 served badly", metric=metric,
        truth=0.0 if paired else metric.value(big), sizes=(30, 60, 200),
    )  # fmt: skip
