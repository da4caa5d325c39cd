"""What a population is: how rows come about, which metric is asked, and its true value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for

TRUTH_ROWS = 2_000_000  # from which a true value is taken that no formula gives
Rows = tuple[RowOutputs, RowOutputs | None]
Draw = Callable[[np.random.Generator, int], Rows]


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """A world: how rows come about, the metric, and its true value (of the difference, when two models are drawn)."""

    name: str
    effect: str
    metric: Metric
    draw: Draw
    truth: float
    sizes: tuple[int, ...]
    cluster: str | None = None


def rows(y: np.ndarray, output: np.ndarray, **columns: list[str]) -> RowOutputs:
    """Without the cost of real names."""
    return RowOutputs(ids=[""] * len(y), y=y, output=output.astype(np.float32), columns=columns)


def binary_metrics() -> dict[str, Metric]:
    return metrics_for("classification", ("no", "yes"))


def logits(z: np.ndarray) -> np.ndarray:
    """(N,) log odds -> (N, 2)."""
    return np.stack([np.zeros_like(z), z], axis=1)


def true_value(metric: Metric, draw: Draw) -> float:
    """Of the metric, or of its difference where two models are drawn, on `TRUTH_ROWS` rows."""
    a, b = draw(np.random.default_rng(123), TRUTH_ROWS)
    return metric.value(a) - (metric.value(b) if b is not None else 0.0)
