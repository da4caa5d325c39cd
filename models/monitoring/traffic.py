"""Traffic with a known truth, made of a pipeline's own rows, that drifts in a way that one chooses: what detectors and
the loop are tried on. Pure: the same seed gives the same requests.

Covariate and label drift draw other rows, so that every truth stays true; concept drift changes the truth of a part of
the inputs; a fault of quality spoils inputs and leaves the truth; in an outage of size 1 nothing comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

DriftKind = Literal["covariate", "label", "concept", "quality", "outage", "none"]
DRIFTS: tuple[DriftKind, ...] = get_args(DriftKind)
TILT = 2.0  # of a covariate drift of size 1: a row one standard deviation up is drawn e^2 times as often
TIMES = 9.0  # of a label drift of size 1: how much more often the rarest class is drawn, beside as often as before
SPOILED = 0.6  # of a fault of quality of size 1: share of the rows in which a field is wrong
CHANGED = 0.5  # of a concept drift of size 1, the largest: share of the inputs that mean another class
WRONG_UNIT = 1000.0

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class OwnRows:
    """Rows of a pipeline as clients send them, and what is true of each."""

    instances: Sequence[Any]
    truths: Sequence[str]

    def __post_init__(self) -> None:
        if not self.instances or len(self.instances) != len(self.truths):
            raise ValueError(
                f"got {len(self.instances)} rows with {len(self.truths)} truths, expected as many, not none"
            )


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One request that is to be sent."""

    at_s: float  # after the beginning
    instance: Any
    truth: str
    drifted: bool  # whether it comes after the onset


def traffic(
    rows: OwnRows,
    drift: DriftKind,
    *,
    rate: float,
    seconds: float,
    onset_s: float = 0.0,
    size: float = 1.0,
    seed: int = 0,
    field: str | None = None,
) -> Iterator[Sent]:
    """Requests at an even pace.

    Args:
        rows: What they are drawn from, with replacement.
        drift: What changes.
        rate: Requests per second.
        seconds: How long.
        onset_s: Seconds before the change; until then as the rows are.
        size: Of the change; 1 is large.
        seed: Of everything that is drawn.
        field: What a covariate drift moves along and a fault of quality spoils; the first number without it.

    Raises ``ValueError`` for a covariate or concept drift over rows that hold no number.
    """
    rng = np.random.default_rng(seed)
    count = max(0, math.ceil(rate * seconds))
    changed = _Changed(rows, drift, size, field)
    for number in range(count):
        at_s = number / rate
        drifted = at_s >= onset_s and drift != "none"
        place = int(rng.choice(len(rows.instances), p=changed.weights if drifted else None))
        luck = rng.random(2)  # drawn whatever the drift: two kinds with one seed differ in what they say alone
        if not drifted:
            yield Sent(at_s=at_s, instance=rows.instances[place], truth=rows.truths[place], drifted=False)
        elif drift != "outage" or luck[0] >= size:
            yield Sent(
                at_s=at_s,
                instance=changed.instance(place, luck),
                truth=changed.truth(place),
                drifted=True,
            )


class _Changed:
    """What a drift does to the rows."""

    def __init__(self, rows: OwnRows, drift: DriftKind, size: float, field: str | None) -> None:
        self._rows, self._drift, self._size = rows, drift, size
        self._field = field or first_number(rows.instances[0])
        self.weights: Array | None = None
        self._upper: Array | None = None
        if drift in ("covariate", "concept"):
            score_N = scores(rows.instances, self._field)
            self._upper = score_N > np.quantile(score_N, 1 - CHANGED * min(size, 1.0))
            if drift == "covariate":
                self.weights = _share(np.exp(np.clip(TILT * size * score_N, -30, 30)))
        elif drift == "label":
            names, counts = np.unique(np.asarray(rows.truths), return_counts=True)
            rarest = names[int(np.argmin(counts))]
            self.weights = _share(1.0 + TIMES * size * (np.asarray(rows.truths) == rarest))
        self._names = sorted(set(rows.truths))

    def truth(self, place: int) -> str:
        """Under a concept drift the upper part of the inputs means the next class."""
        said = self._rows.truths[place]
        if self._drift != "concept" or self._upper is None or not self._upper[place]:
            return said
        return self._names[(self._names.index(said) + 1) % len(self._names)]

    def instance(self, place: int, luck: Array) -> Any:
        """Under a fault of quality some rows hold a field in a wrong unit, or as nothing."""
        row = self._rows.instances[place]
        if self._drift != "quality" or luck[0] >= SPOILED * min(self._size, 1.0):
            return row
        return spoiled(row, self._field, empty=bool(luck[1] < 0.5))


def _share(weights_N: Array) -> Array:
    shares: Array = weights_N / weights_N.sum()
    return shares


def first_number(row: Any) -> str | None:
    """The first field of a row that holds a number; None for rows without names, and for those without one."""
    if not isinstance(row, dict):
        return None
    return next((name for name, value in row.items() if is_number(value)), None)


def is_number(value: Any) -> bool:
    """A truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def scores(instances: Sequence[Any], field: str | None) -> Array:
    """Where each row is along a field, or by the mean of its numbers, in standard deviations. A row without is 0.

    Raises ``ValueError`` when no two rows differ there.
    """
    found_N = np.asarray([_score(row, field) for row in instances], dtype=np.float64)
    known = np.isfinite(found_N)
    spread = float(found_N[known].std()) if known.any() else 0.0
    if spread == 0.0:
        what = f"field {field!r}" if field else "no field that is a number"
        raise ValueError(f"rows have {what} to drift along; choose label, quality or outage")
    return np.where(known, (found_N - float(found_N[known].mean())) / spread, 0.0)


def _score(row: Any, field: str | None) -> float:
    if isinstance(row, dict):
        value = row.get(field, math.nan) if field is not None else math.nan
        return float(value) if is_number(value) else math.nan
    try:
        return float(np.asarray(row, dtype=np.float64).mean())
    except (TypeError, ValueError):
        return math.nan


def spoiled(row: Any, field: str | None, *, empty: bool) -> Any:
    """A row with one field as nothing, or in a wrong unit; numbers without names all at once."""
    if isinstance(row, dict):
        name = field if field in row else next(iter(row))
        value = row[name]
        if empty or not is_number(value):
            return {**row, name: None}
        return {**row, name: value * WRONG_UNIT}
    values_X = np.asarray(row, dtype=np.float64)
    return (np.zeros_like(values_X) if empty else values_X.max() - values_X).tolist()
