"""Worlds whose truth is known: rows, whether a model is wrong on each, and what each kind of change does to them.

Shape legend: N rows of the reference, P rows that windows are drawn from, n rows of a window, F fields, D numbers of a
model's input, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mlratchet.models.inference_log.projection import projected
from mlratchet.models.tensors.named import Inputs
from sklearn.linear_model import LogisticRegression

Array = np.ndarray[Any, Any]
FAR = 2.0  # standard deviations beyond which nothing is tilted more
UNIT = 1000.0  # what a number in another unit is multiplied by


@dataclass(frozen=True, kw_only=True)
class Window:
    """What came in and what was answered in an hour."""

    fields: Mapping[str, Array]  # name -> (n,) floats, NaN missing, or (n,) objects, None missing
    prepared: Array | None  # (n, K) numbers of the projection of inputs that are no fields
    output: Array  # (n, C) probabilities
    wrong: Array  # (n,) 0 or 1

    @property
    def confidence(self) -> Array:
        """(n,) of each answer."""
        return np.asarray(self.output.max(axis=1))


@dataclass(frozen=True, kw_only=True)
class Raw:
    """Rows before they are split: either fields that a model's input is made of, or inputs alone."""

    name: str
    y: Array  # (P,) class numbers
    fields: Mapping[str, Array] = field(default_factory=dict)
    inputs: Array | None = None  # (P, D); None: numbers as they are and words one-hot
    beside: Mapping[str, Array] = field(default_factory=dict)  # fields that are no input, as the length of a text
    later: Array | None = None  # (P,) rows of the natural drift: never in the reference
    reference_rows: int = 2000


@dataclass(frozen=True, kw_only=True)
class World:
    """A fitted model, its reference, and the rows that windows are drawn from."""

    name: str
    raw: Raw
    pool: Array  # places of rows
    natural: Array  # places of rows of the natural drift
    reference: Window
    answer: Callable[[Mapping[str, Array], Array | None], Array]

    @property
    def by_fields(self) -> bool:
        """Whether the model's input is made of fields."""
        return self.raw.inputs is None

    def draw(self, rng: np.random.Generator, n: int, change: str | None, size: float) -> Window:
        """A window. `covariate`: the first field or direction tilted by `size` standard deviations, labels true to
        their rows; `label`: that much of the way to one label alone; `concept`: this share of labels is another;
        `quality`: the first field in another unit or spelling, or an input scaled by 3, in this share of rows;
        `outage`: the first field missing, or an empty input, in this share; `natural`: what this data does by itself,
        other voices or the next months, in this share of rows."""
        pool = self.pool
        if change == "natural":
            both = rng.random(n) < size
            places = np.where(both, rng.choice(self.natural, n), rng.choice(pool, n))
        else:
            chances = self._chances(change, size)
            places = rng.choice(pool, n, p=chances)
        hit = rng.random(n) < size
        y = self.raw.y[places]
        if change == "concept":
            y = np.where(hit, (y + 1) % (self.raw.y.max() + 1), y)
        hit = hit if change in ("quality", "outage") else np.zeros(n, dtype=bool)
        return self._window(places, y, hit, change)

    def usual(self) -> Window:
        """Every row that windows without a change are drawn from, once."""
        return self._window(self.pool, self.raw.y[self.pool], np.zeros(len(self.pool), dtype=bool), None)

    def _chances(self, change: str | None, size: float) -> Array | None:
        if change == "covariate":
            scores = self._leading(self.pool)
            weights = np.exp(size * np.clip((scores - scores.mean()) / scores.std(), -FAR, FAR))
        elif change == "label":
            ours = self.raw.y[self.pool] == 0
            weights = (1 - size) / len(ours) + size * ours / ours.sum()
        else:
            return None
        return np.asarray(weights / weights.sum())

    def _leading(self, places: Array) -> Array:
        """What a covariate shift tilts: the first number, the first field's most frequent word, or the first direction
        of the inputs."""
        if self.raw.inputs is not None:
            rows = self.raw.inputs[places]
            rows = rows - rows.mean(axis=0)
            _, _, directions = np.linalg.svd(rows[:1000], full_matrices=False)
            return np.asarray(rows @ directions[0])
        first = next(iter(self.raw.fields.values()))[places]
        return np.asarray(first == _commonest(first), dtype=float) if first.dtype == object else first

    def _window(self, places: Array, y: Array, hit: Array, change: str | None) -> Window:
        fields = {name: column[places] for name, column in self.raw.fields.items()}
        beside = {name: column[places] for name, column in self.raw.beside.items()}
        inputs = self.raw.inputs[places] if self.raw.inputs is not None else None
        if inputs is not None:
            inputs = np.where(hit[:, None], 3 * inputs if change == "quality" else 0.0, inputs)
            beside = {name: np.where(hit & (change == "outage"), 0.0, column) for name, column in beside.items()}
        elif hit.any():
            first = next(iter(fields))
            fields[first] = _spoilt(fields[first], hit, str(change))
        output = self.answer(fields, inputs)
        prepared = projected(Inputs(columns={"x": inputs.astype(np.float32)})) if inputs is not None else None
        return Window(
            fields=fields | beside, prepared=prepared, output=output,
            wrong=(output.argmax(axis=1) != y).astype(float),
        )  # fmt: skip


def _commonest(words: Array) -> Any:
    values, counts = np.unique([str(one) for one in words], return_counts=True)
    return values[counts.argmax()]


def _spoilt(column: Array, hit: Array, change: str) -> Array:
    column = column.copy()
    if change == "outage":
        column[hit] = None if column.dtype == object else np.nan
    elif column.dtype == object:
        column[hit] = [None if one is None else one.upper() + "." for one in column[hit]]
    else:
        column[hit] *= UNIT
    return column


def world_of(raw: Raw, seed: int) -> World:
    """Fit on a third, take the reference from the rest, and leave what remains to windows."""
    rng = np.random.default_rng(seed)
    usual = np.arange(len(raw.y)) if raw.later is None else np.flatnonzero(~raw.later)
    order = rng.permutation(usual)
    third = len(order) // 3
    fit, reference = order[:third], order[third : third + min(raw.reference_rows, third)]
    pool = order[third + len(reference) :]
    answer = _model(raw, fit)
    world = World(
        name=raw.name, raw=raw, pool=pool, reference=None, answer=answer,  # type: ignore[arg-type]  # made next
        natural=np.flatnonzero(raw.later) if raw.later is not None else np.zeros(0, dtype=int),
    )  # fmt: skip
    none = np.zeros(len(reference), dtype=bool)
    return World(**{**world.__dict__, "reference": world._window(reference, raw.y[reference], none, None)})


def _model(raw: Raw, fit: Array) -> Callable[[Mapping[str, Array], Array | None], Array]:
    """Logistic regression on standardised inputs; of fields, numbers with the mean for what is missing and words
    one-hot."""
    words = {
        name: sorted({str(one) for one in column[fit]})
        for name, column in raw.fields.items() if column.dtype == object
    }  # fmt: skip
    means = {name: np.nanmean(column[fit]) for name, column in raw.fields.items() if column.dtype != object}

    def encoded(fields: Mapping[str, Array], inputs: Array | None) -> Array:
        if inputs is not None:
            return inputs
        parts = []
        for name, column in fields.items():
            if name in words:
                parts.append(np.asarray([str(one) for one in column])[:, None] == np.asarray(words[name])[None])
            elif name in means:
                parts.append(np.where(np.isnan(column), means[name], column)[:, None])
        return np.concatenate(parts, axis=1).astype(float)

    x = encoded(
        {name: column[fit] for name, column in raw.fields.items()}, None if raw.inputs is None else raw.inputs[fit]
    )
    centre, scale = x.mean(axis=0), x.std(axis=0) + 1e-9
    model = LogisticRegression(max_iter=100, C=0.1).fit((x - centre) / scale, raw.y[fit])
    count = int(raw.y.max()) + 1

    def answer(fields: Mapping[str, Array], inputs: Array | None) -> Array:
        chances = model.predict_proba(np.clip((encoded(fields, inputs) - centre) / scale, -50, 50))
        found = np.zeros((len(chances), count))
        found[:, model.classes_] = chances
        return found

    return answer
