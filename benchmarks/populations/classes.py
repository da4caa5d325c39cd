"""Classes of ordinary size: shares of right rows, F1 and its relatives, models without an error."""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for

from populations.base import Population, Rows, binary_metrics, logits, rows, true_value


def paired_accuracy(gain: float, disagreement: float, level: float, metric: str = "accuracy") -> Population:
    """Two classifiers right together on most rows; exactly one is right on `disagreement` of them."""
    gained, lost = (disagreement + gain) / 2, (disagreement - gain) / 2
    share = np.array([level - gained, gained, lost, 1 - level - lost])

    def draw(rng: np.random.Generator, n: int) -> Rows:
        kind = rng.choice(4, size=n, p=share)
        y = np.ones(n, dtype=np.int64)
        right_a, right_b = kind <= 1, (kind == 0) | (kind == 2)
        return rows(y, logits(np.where(right_a, 1.0, -1.0))), rows(y, logits(np.where(right_b, 1.0, -1.0)))

    effect = f"accuracy {level:.2f}, gain {gain:+.3f}, {disagreement:.0%} differ"
    sizes = (50, 200, 1000, 5000)
    return Population(
        name="accuracy, paired", effect=effect, metric=binary_metrics()[metric], draw=draw, truth=gain, sizes=sizes
    )


def one_share(level: float) -> Population:
    """Accuracy of one model."""

    def draw(rng: np.random.Generator, n: int) -> Rows:
        return rows(np.ones(n, dtype=np.int64), logits(np.where(rng.random(n) < level, 1.0, -1.0))), None

    return Population(
        name="accuracy, one model", effect=f"accuracy {level:.2f}", metric=binary_metrics()["accuracy"],
        draw=draw, truth=level, sizes=(50, 200, 1000, 5000),
    )  # fmt: skip


def joint_table(worse: float, classes: int, rare: float) -> np.ndarray:
    """(C, C, C) probabilities of label, prediction of a, prediction of b; the last class has share `rare`."""
    share = np.full(classes, (1 - rare) / (classes - 1))
    share[-1] = rare
    table = np.zeros((classes,) * 3)
    for label in range(classes):
        other = (label + 1) % classes
        both, only_a, only_b = 0.84, 0.04, 0.04 + worse
        table[label, label, label] = share[label] * both
        table[label, label, other] = share[label] * only_a
        table[label, other, label] = share[label] * only_b
        table[label, other, other] = share[label] * (1 - both - only_a - only_b)
    return table


def count_metric(name: str, worse: float, rare: float, *, paired: bool) -> Population:
    """Metrics of counts over three classes, one of them rarer."""
    table = joint_table(worse, 3, rare)
    metric = metrics_for("classification", ("a", "b", "c"))[name]
    cells = np.stack(np.unravel_index(np.arange(27), table.shape), axis=1)
    kept = cells[table.ravel() > 0]
    share = table.ravel()[table.ravel() > 0]

    def sides(kind: np.ndarray) -> Rows:
        label, a, b = kept[kind].T
        one = np.eye(3, dtype=np.float32)
        return rows(label, one[a]), rows(label, one[b]) if paired else None

    def value(side: RowOutputs | None) -> float:
        assert side is not None
        return float(metric.weighted(side, share[None])[0])

    a, b = sides(np.arange(len(kept)))
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}",
        effect=f"rarest class {rare:.0%}" + (f", a worse by {worse:.0%} of rows" if paired else ""),
        metric=metric, truth=value(a) - value(b) if paired else value(a), sizes=(50, 200, 1000, 5000),
        draw=lambda rng, n: sides(rng.choice(len(share), size=n, p=share)),
    )  # fmt: skip


def nearly_faultless(name: str, error: float) -> Population:
    """A model that is wrong on so few of three classes' rows that many test sets show no error at all."""
    metric = metrics_for("classification", ("a", "b", "c"))[name]

    def sides(rng: np.random.Generator, n: int) -> Rows:
        y = rng.choice(3, size=n, p=[0.5, 0.3, 0.2])
        guess = np.where(rng.random(n) < error, (y + 1) % 3, y)
        return rows(y, np.eye(3, dtype=np.float32)[guess]), None

    return Population(
        name=f"{name}, one model", effect=f"{error:.1%} of rows wrong", metric=metric, draw=sides,
        truth=true_value(metric, sides), sizes=(50, 200, 1000),
    )  # fmt: skip
