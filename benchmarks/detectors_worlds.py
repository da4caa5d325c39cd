"""Worlds whose truth is known: rows, whether a model is wrong on each, and what each kind of change does to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression

Array = np.ndarray[Any, Any]
FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class World:
    """Shape legend: N rows of the reference, P rows that windows are drawn from, F fields."""

    name: str
    reference: Array  # (N, F)
    losses: Array  # (N,) of the model on the reference
    pool: Array  # (P, F)
    inputs: Array  # (P, D) of the model; its first F columns are the fields
    y: Array  # (P,)
    predict: Callable[[Array], Array]

    def draw(self, rng: np.random.Generator, n: int, change: str | None, size: float) -> tuple[Array, Array]:
        """(n, F) fields and (n,) losses of a window. `covariate`: field 0 by `size` standard deviations, labels true to
        their rows; `label`: that much of the way to one label alone; `concept`: this share of labels is another;
        `quality`: field 0 in another unit in this share of rows; `outage`: field 0 missing in this share."""
        chances = self._chances(change, size)
        places = rng.choice(len(self.y), n, p=chances) if chances is not None else rng.integers(0, len(self.y), n)
        inputs, y = self.inputs[places].copy(), self.y[places].copy()
        hit = rng.random(n) < size
        if change == "concept":
            y = np.where(hit, (y + 1) % (self.y.max() + 1), y)
        if change == "quality":
            inputs[hit, 0] *= 1000
        fields = inputs[:, :FIELDS].copy()
        if change == "outage":
            fields[hit, 0] = np.nan
            inputs[hit, 0] = self.inputs[:, 0].mean()
        return fields, (self.predict(inputs) != y).astype(float)

    def _chances(self, change: str | None, size: float) -> Array | None:
        if change == "covariate":
            scores = self.inputs[:, 0]
            weights = np.exp(size * (scores - scores.mean()) / scores.std())
        elif change == "label":
            weights = (1 - size) / len(self.y) + size * (self.y == 0) / (self.y == 0).sum()
        else:
            return None
        return np.asarray(weights / weights.sum())


def _world(name: str, x: Array, y: Array, seed: int, reference_rows: int) -> World:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    order_of_fields = np.argsort(-x.std(axis=0))
    x = x[order][:, order_of_fields].astype(float)
    y = y[order]
    fit, reference = slice(0, len(y) // 3), slice(len(y) // 3, len(y) // 3 + reference_rows)
    scale = x[fit].std(axis=0) + 1e-9
    model = LogisticRegression(max_iter=300).fit(x[fit] / scale, y[fit])

    def predict(rows: Array) -> Array:
        return np.asarray(model.predict(rows / scale))

    rest = slice(reference.stop, None)
    return World(
        name=name, reference=x[reference, :FIELDS], losses=(predict(x[reference]) != y[reference]).astype(float),
        pool=x[rest, :FIELDS], inputs=x[rest], y=y[rest], predict=predict,
    )  # fmt: skip


def synthetic() -> World:
    """12 numbers, 3 classes."""
    x, y = make_classification(30_000, 12, n_informative=8, n_classes=3, class_sep=1.6, random_state=14)
    return _world("synthetic", x, y, 1, 2000)


def digits() -> World:
    """1,797 real pictures of digits as 64 numbers, of which the six of the largest spread are watched."""
    x, y = load_digits(return_X_y=True)
    return _world("digits", x, y, 2, 500)


WORLDS: dict[str, Callable[[], World]] = {"synthetic": synthetic, "digits": digits}
