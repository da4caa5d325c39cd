"""A class with a handful of test rows: its own metrics, and means in which it counts as much as the others."""

from __future__ import annotations

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import metrics_for

from populations.base import Population, Rows, rows

RARE_METRICS = (
    "f1_class_c",
    "precision_class_c",
    "recall_class_c",
    "f1_macro",
    "precision_macro",
    "recall_macro",
    "f1_weighted",
)
NAMES = ("a", "b", "c")
ALIKE = 0.6  # of the rows on which the two models agree as far as their rates let them


def guesses(label: int, recall: float, alarms: float, others: float) -> np.ndarray:
    """(3,) probabilities of a prediction: the rare class is found with `recall` and announced on `alarms` of the other
    rows, of which the rest is right with probability `others`."""
    if label == 2:
        return np.array([(1 - recall) / 2, (1 - recall) / 2, recall])
    found = np.array([0.0, 0.0, alarms])
    found[label], found[1 - label] = (1 - alarms) * others, (1 - alarms) * (1 - others)
    return found


def joint(rare: float, recalls: tuple[float, float], alarms: tuple[float, float], others: float) -> np.ndarray:
    """(3, 3, 3) probabilities of label, prediction of a, prediction of b; the last class has share `rare`."""
    table = np.zeros((3, 3, 3))
    for label, share in enumerate([(1 - rare) / 2, (1 - rare) / 2, rare]):
        a, b = (guesses(label, recall, alarm, others) for recall, alarm in zip(recalls, alarms, strict=True))
        same = np.minimum(a, b)
        left = 1 - same.sum()
        alike = np.diag(same) + (np.outer(a - same, b - same) / left if left > 1e-12 else 0.0)
        table[label] = share * (ALIKE * alike + (1 - ALIKE) * np.outer(a, b))
    return table


def world(
    name: str, rare: float, recalls: tuple[float, float], alarms: tuple[float, float], *,
    paired: bool, sizes: tuple[int, ...], others: float = 0.85,
) -> Population:  # fmt: skip
    """Three classes; rates of one model are the first of each pair."""
    metric = metrics_for("classification", NAMES)[name]
    share = joint(rare, recalls, alarms, others).ravel()
    cells = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), axis=1)[share > 0]
    share = share[share > 0] / share.sum()

    def sides(kind: np.ndarray) -> tuple[RowOutputs, RowOutputs]:
        label, a, b = cells[kind].T
        one = np.eye(3, dtype=np.float32)
        return rows(label, one[a]), rows(label, one[b])

    def draw(rng: np.random.Generator, n: int) -> Rows:
        a, b = sides(rng.choice(len(share), size=n, p=share))
        return a, b if paired else None

    a, b = (float(metric.weighted(side, share[None])[0]) for side in sides(np.arange(len(share))))
    rates = [f"recall {one:g}, false alarms {two:.1%}" for one, two in zip(recalls, alarms, strict=True)]
    return Population(
        name=f"{name}, {'paired' if paired else 'one model'}, rare class",
        effect=f"c {rare:.0%}, {' against '.join(rates if paired else rates[:1])}",
        metric=metric, truth=a - b if paired else a, sizes=sizes, draw=draw,
    )  # fmt: skip


def rare_class(name: str) -> list[Population]:
    """One model, with about 3, 5 and 10 rows of the class on 100, and nearly right on a class of 20 in 1,000."""
    found = [world(name, rare, (0.84, 0.84), (0.01, 0.01), paired=False, sizes=(100,)) for rare in (0.05, 0.1)]
    few = world(name, 0.03, (0.84, 0.84), (0.01, 0.01), paired=False, sizes=(100, 300, 1000))
    return [few, *found, world(name, 0.02, (0.95, 0.95), (0.001, 0.001), paired=False, sizes=(1000,), others=0.95)]


def rare_class_pairs(name: str) -> list[Population]:
    """Two models: equal, one that finds the class less often, one that announces it more often."""
    few = [
        world(name, 0.03, recalls, alarms, paired=True, sizes=(100, 300))
        for recalls, alarms in (
            ((0.84, 0.84), (0.01, 0.01)), ((0.5, 0.84), (0.005, 0.005)), ((0.9, 0.45), (0.05, 0.05))
        )
    ]  # fmt: skip
    return [*few, world(name, 0.1, (0.6, 0.85), (0.01, 0.01), paired=True, sizes=(100,))]
