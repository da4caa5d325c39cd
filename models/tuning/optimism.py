"""How much of the best score is luck: the best of many on the same rows looks better than it is.

Bootstrap bias correction of Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the out-of-sample predictions for
efficient and accurate cross-validation", Machine Learning 107 (2018): rows are resampled; the configuration that is
best on the resample is scored on the rows left out of it. The mean over resamples estimates what the winner of such a
search scores on rows that did not choose it.

It corrects for choosing among the trials alone. Early stopping on the scoring rows is outside it (`tune.rows: holdout`
scores on rows that are cut off for the study, but early stopping looks at those as well).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mlratchet.models.metrics import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import GROUP_COLUMN

RESAMPLES = 200
MOST_ESTIMATES = 6000  # resamples x trials: bounds the time


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """A value without the winner's luck, with a percentile interval over resamples."""

    value: float
    low: float
    high: float
    confidence: float
    resamples: int


def corrected_best(
    metric: Metric, trials: dict[int, RowOutputs], *, seed: int, confidence: float = 0.95
) -> Corrected | None:
    """Of the search over `trials` (number -> outputs, the same rows in the same order).

    None where it cannot be said: fewer than two trials, or a metric that is undefined on most resamples.
    """
    if len(trials) < 2:
        return None
    units = _units(next(iter(trials.values())))
    n, sign = len(units), 1.0 if metric.direction == "higher" else -1.0
    resamples = max(20, min(RESAMPLES, MOST_ESTIMATES // len(trials)))
    rng = np.random.default_rng([seed, n])
    scores: list[float] = []
    for _ in range(resamples):
        taken = rng.integers(0, n, n)
        unseen = np.setdiff1d(np.arange(n), taken)
        if not len(unseen):
            continue
        drawn, left = (np.concatenate([units[int(i)] for i in places]) for places in (taken, unseen))
        values = [(sign * _value(metric, rows, drawn), -number) for number, rows in trials.items()]
        known = [pair for pair in values if np.isfinite(pair[0])]
        if not known:
            continue
        score = _value(metric, trials[-max(known)[1]], left)
        if np.isfinite(score):
            scores.append(score)
    if len(scores) < resamples / 2:
        return None
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(scores, [tail, 100 - tail])
    return Corrected(
        value=float(np.mean(scores)), low=float(low), high=float(high), confidence=confidence, resamples=len(scores)
    )


def _units(rows: RowOutputs) -> list[np.ndarray[Any, Any]]:
    """What is resampled, as places: rows, or the whole groups of a ranking, whose rows are judged together."""
    names = rows.columns.get(GROUP_COLUMN)
    if names is None:
        return [np.array([place]) for place in range(len(rows.ids))]
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(name, []).append(place)
    return [np.array(places) for places in groups.values()]


def _value(metric: Metric, rows: RowOutputs, places: np.ndarray[Any, Any]) -> float:
    if GROUP_COLUMN in rows.columns:
        places = np.unique(places)  # a query that is drawn twice must not become one with every row twice
    part = RowOutputs(
        ids=[rows.ids[i] for i in places],
        y=rows.y[places],
        output=rows.output[places],
        columns={name: [values[i] for i in places] for name, values in rows.columns.items()},
    )
    return metric.estimate(part).value
