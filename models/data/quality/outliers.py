"""Numbers far from all others, and how old the newest record is."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.data.quality.sample import FieldValues, Sample

FAR = 10.0  # robust deviations from the median (the middle half is 1.349 of them wide)
LEAST_ROWS = 50
DAY_S = 86_400.0
SHOWN = 5
Array = np.ndarray[Any, Any]


def far_in(one: FieldValues) -> Array:
    """(N,) where a number is further than `FAR` robust deviations from the median; nowhere, where there are fewer than
    5 different ones or half of them are equal."""
    given = one.given
    nowhere = np.zeros(len(given), dtype=bool)
    known = one.values[given]
    if one.kind != "number" or len(known) < LEAST_ROWS or len(np.unique(known)) < 5:
        return nowhere
    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
    scale = (high - low) / 1.349
    if scale <= 0:
        return nowhere
    nowhere[given] = np.abs(known - middle) > FAR * scale
    return nowhere


def outliers(sample: Sample) -> dict[str, int]:
    """By field: how many of the sample; only fields that have some."""
    found = {one.name: int(far_in(one).sum()) for one in sample.fields}
    return {name: count for name, count in found.items() if count}


def measures(sample: Sample, *, now_s: float | None, delivered_s: float | None = None) -> dict[str, Measure]:
    """`now_s`: seconds since the epoch; None: nobody asks how old the records are. `delivered_s`: when the newest
    object was delivered, for records without a time."""
    numbers = [one for one in sample.fields if one.kind == "number"]
    anywhere = np.zeros(len(sample), dtype=bool)
    for one in numbers:
        anywhere |= far_in(one)
    n = len(sample) if numbers else 0
    most = sorted(outliers(sample).items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    example = next((sample.ids[int(row)] for row in np.flatnonzero(anywhere)[:1]), "")
    told = ", ".join(f"{name} {count:,}" for name, count in most)
    return {
        "outlier_fraction": Measure(
            value=share(int(anywhere.sum()), n), n=n, detail=f"{told}; e.g. {example}" if told else ""
        ),
        "newest_age_days": _age(sample, now_s, delivered_s),
    }


def _age(sample: Sample, now_s: float | None, delivered_s: float | None) -> Measure:
    newest = [
        (float(one.values[given].max()), one.name, int(given.sum()))
        for one in sample.fields
        if one.kind == "time" and (given := one.given).any()
    ]
    if not newest and delivered_s is not None:
        newest = [(delivered_s, "the objects", sample.of)]
    if now_s is None or not newest:
        return Measure(value=0.0, n=0, detail="there is no field of kind time")
    seconds, name, n = max(newest)
    detail = f"{name}: the newest is of {np.datetime64(int(seconds), 's')}Z"
    return Measure(value=max(0.0, (now_s - seconds) / DAY_S), n=n, detail=detail)
