"""Leaks: a single field that says the label, and entities or times that are on both sides of the split.

Shape legend: N records of the sample, B bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.data.quality.sample import FieldValues, Sample

BINS = 64  # of a number, by quantiles of the rows that are learnt from
LEAST_ROWS = 50  # on each side of the halves: of fewer nothing is said
SHOWN = 5  # fields that a detail names
SAME = 1 - 1e-9  # correlation of a number that is the target on another scale
Array = np.ndarray[Any, Any]


def single_field_power(sample: Sample, *, classes: bool) -> dict[str, float]:
    """By input field: how much of what a constant answer gets wrong it says right by itself, on rows that it was not
    learnt from (0..1): of classes the accuracy of a table of its values or bins, of a number the R2 of their means."""
    y = _targets(sample)
    if y is None or len(sample) < 2 * LEAST_ROWS:
        return {}
    learnt = np.arange(len(sample)) % 2 == 0  # the sample is in the order of hashes
    return {one.name: _power(_codes(one, learnt), y, learnt, classes=classes) for one in sample.fields if one.input}


def _targets(sample: Sample) -> Array | None:
    """(N,) float64; of several labels None."""
    if any(isinstance(one, tuple) for one in sample.labels):
        return None
    return np.asarray(sample.labels, dtype=np.float64)


def _codes(one: FieldValues, learnt: Array) -> Array:
    """A number (N,) per value or bin; 0 where not given."""
    if one.values.dtype == object:
        words = np.asarray(["" if value is None else f"={value}" for value in one.values])
        return np.asarray(np.unique(words, return_inverse=True)[1])
    given = one.given
    known = one.values[learnt & given]
    distinct = np.unique(known)
    if len(distinct) <= 2 * BINS:
        found = 1 + np.searchsorted(distinct, one.values)
    else:
        edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1]))
        found = 1 + np.searchsorted(edges, one.values)
    return np.asarray(np.where(given, found, 0))


def _power(codes: Array, y: Array, learnt: Array, *, classes: bool) -> float:
    kinds = int(codes.max()) + 1
    if classes:
        names, which = np.unique(y, return_inverse=True)
        counts = np.zeros((kinds, len(names)))
        np.add.at(counts, (codes[learnt], which[learnt]), 1)
        by_code = _shares_of_the_most(np.where(counts.any(axis=1, keepdims=True), counts, counts.sum(axis=0)))
        always = _shares_of_the_most(counts.sum(axis=0, keepdims=True))[0]
        right = float(by_code[codes[~learnt], which[~learnt]].mean())
        base = float(always[which[~learnt]].mean())
        return max(0.0, (right - base) / (1 - base)) if base < 1 else 0.0
    sums, numbers = np.zeros(kinds), np.zeros(kinds)
    np.add.at(sums, codes[learnt], y[learnt])
    np.add.at(numbers, codes[learnt], 1)
    mean = float(y[learnt].mean())
    answers = np.where(numbers > 0, sums / np.maximum(numbers, 1), mean)
    apart = float(((y[~learnt] - mean) ** 2).sum())
    return max(0.0, 1 - float(((y[~learnt] - answers[codes[~learnt]]) ** 2).sum()) / apart) if apart > 0 else 0.0


def _shares_of_the_most(counts: Array) -> Array:
    """Per row of counts (B, classes) the class with most answers, shared among equals: their order does not count."""
    most = counts == counts.max(axis=1, keepdims=True)
    return np.asarray(most / most.sum(axis=1, keepdims=True))


def is_the_label(sample: Sample, *, classes: bool) -> list[str]:
    """Input fields that are the label under another name: every value stands for one class and every class for one
    value, or the number is the target on another scale."""
    y = _targets(sample)
    if y is None or len(sample) < 2 * LEAST_ROWS or len(np.unique(y)) < 2:
        return []
    return [one.name for one in sample.fields if one.input and _is_label(one, y, classes=classes)]


def _is_label(one: FieldValues, y: Array, *, classes: bool) -> bool:
    if not one.given.all():
        return False
    if not classes:
        if one.values.dtype == object or one.values.std() == 0:
            return False
        return abs(float(np.corrcoef(one.values, y)[0, 1])) > SAME
    codes = _codes(one, np.ones(len(y), dtype=bool))
    names = np.unique(y, return_inverse=True)[1]
    pairs = len(np.unique(codes.astype(np.int64) * (int(names.max()) + 1) + names))
    return pairs == len(np.unique(codes)) == int(names.max()) + 1


def measures(sample: Sample, powers: dict[str, float]) -> dict[str, Measure]:
    """Of the sample."""
    best = sorted(powers.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {power:.3f}" for name, power in best[:SHOWN])
    n = len(sample) if powers else 0
    why = shown or "there are no fields of a schema or a table, or too few records"
    return {
        "single_field_power": Measure(value=best[0][1] if best else 0.0, n=n, detail=why),
        "time_overlap_fraction": _times(sample),
    }


def _times(sample: Sample) -> Measure:
    sides = np.asarray(sample.sides)
    trained, tested = sides == "train", sides == "test"
    worst, of, detail = 0.0, 0, "there is no field of kind time"
    for one in sample.fields:
        given = one.given
        if one.kind != "time" or not (given & trained).any():
            continue
        after, asked = float(one.values[given & trained].max()), given & tested
        found = share(int((one.values[asked] <= after).sum()), int(asked.sum()))
        if found >= worst:
            worst, of = found, int(asked.sum())
            detail = f"{one.name}: records are trained on until {np.datetime64(int(after), 's')}"
    return Measure(value=worst, n=of, detail=detail)
