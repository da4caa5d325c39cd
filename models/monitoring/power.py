"""Power of the alarm: which loss of quality, and which drift, would be found in how many rows and how much time.

Simulated from the rows that a version was tested on, with the same alarm at the same rate of false alarms, so before
anything is deployed.

Shape legend: T rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mlratchet.models.monitoring.drift import jensen_shannon
from mlratchet.models.monitoring.field_watch import FieldWatch, joint_batches, joint_streams, watch_of
from mlratchet.models.monitoring.sequential import Alarm, JointAlarm, Sounded
from mlratchet.models.monitoring.sketches import NumberSketch, Sketch, ValueSketch
from mlratchet.models.schema.fields import Kind

Array = np.ndarray[Any, Any]
Take = Callable[[np.random.Generator, Array], list[Sounded]]
"""Draws a row for each of (T,) moments, and gives them to an alarm."""
Draw = Callable[[np.random.Generator, int], Any]
"""A column of so many rows."""

RUNS = 40
FIRST_ROWS = 256
MOST_ROWS = 65_536  # what is not found by then counts as not found
OFTEN = 0.9


@dataclass(frozen=True, kw_only=True)
class Delay:
    """How soon one change would be found."""

    subject: str
    """Metric or field."""
    effect: float
    """Loss of the metric on the scale from its best to its worst value; or drift as `minimum_effect` counts it."""
    found: float
    """Share of the simulated changes that were found within the rows looked at."""
    rows_median: int | None
    """Rows until half of them were; None: fewer were."""
    rows_often: int | None
    """Until nine in ten were."""
    seconds_median: float | None
    seconds_often: float | None
    words: str = ""
    """Why it is never found."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the alarm is asked to do, and what comes in."""

    false_alarms_per_year: float
    streams: int
    """All that the pipeline's alarm is over: they share the rate."""
    rows_per_s: float
    """Rows that count: of quality those with a label."""
    after_s: float = 0.0
    """Seconds from a request until it counts: how late labels come."""
    runs: int = RUNS
    most_rows: int = MOST_ROWS
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.false_alarms_per_year > 0 and self.streams >= 1 and self.rows_per_s > 0 and self.after_s >= 0):
            raise ValueError(
                f"expected a positive rate, one stream or more, rows and no negative time, got "
                f"{self.false_alarms_per_year:g} a year, {self.streams}, {self.rows_per_s:g} rows/s, {self.after_s:g} s"
            )

    @property
    def rate(self) -> float:
        """At which one stream alone would sound where it does so among all: the statistic is the mean of theirs."""
        return self.false_alarms_per_year / self.streams


def power_of_quality(
    subject: str, losses_T: Array, limit: float, drops: Sequence[float], setting: Setting
) -> list[Delay]:
    """For each loss of quality.

    Args:
        subject: Name of the metric.
        losses_T: Losses in [0, 1] of the test rows.
        limit: The mean loss that was promised.
        drops: By how much the mean loss rises.
        setting: Rate and traffic.
    """
    mean = float(np.mean(losses_T))
    found = []
    for drop in drops:
        if mean + drop <= limit:
            words = f"within the promise: the mean loss may be {limit:.3f}, and would be {mean + drop:.3f}"
            found.append(_never(subject, drop, words))
            continue

        found.append(_simulated(subject, drop, setting, partial(_watch_losses, losses_T, limit, drop, setting)))
    return found


def _watch_losses(losses_T: Array, limit: float, drop: float, setting: Setting) -> Take:
    alarm = Alarm(limit=limit, false_alarms_per_year=setting.rate, started_s=0.0)
    share = drop / (1 - float(np.mean(losses_T)))  # of the rows that become wrong

    def take(rng: np.random.Generator, at_T: Array) -> list[Sounded]:
        losses = losses_T[rng.integers(0, len(losses_T), len(at_T))]
        return alarm.update(np.where(rng.random(len(at_T)) < share, 1.0, losses), at_T)

    return take


def power_of_drift(
    subject: str, reference: Sketch, kind: Kind, effects: Sequence[float], minimum_effect: float, setting: Setting
) -> list[Delay]:
    """For each size of drift of one field: a number moves by so many standard deviations, a category's rows become its
    most frequent value until the share is that far.

    `setting.streams` counts the fields; each field's parts are counted here. Raises ``ValueError`` for a field that
    cannot be watched.
    """
    watch = watch_of(reference, kind, minimum_effect=minimum_effect)
    if watch is None or not isinstance(reference, NumberSketch | ValueSketch):
        raise ValueError(f"field {subject!r} is not watched: {reference.n} values of kind {kind}, expected 100 or more")
    found = []
    for effect in effects:
        if effect <= minimum_effect:
            found.append(_never(subject, effect, f"below the minimum effect {minimum_effect:g}"))
            continue
        drawn = _drifted(reference, effect)
        found.append(_simulated(subject, effect, setting, partial(_watch_field, subject, watch, drawn, setting)))
    return found


def _watch_field(subject: str, watch: FieldWatch, drawn: Draw, setting: Setting) -> Take:
    watches = {subject: watch}
    alarm = JointAlarm(joint_streams(watches), false_alarms_per_year=setting.rate, started_s=0.0)

    def take(rng: np.random.Generator, at_T: Array) -> list[Sounded]:
        return alarm.update(joint_batches(watches, {subject: drawn(rng, len(at_T))}, at_T))

    return take


def _simulated(subject: str, effect: float, setting: Setting, begin: Callable[[], Take]) -> Delay:
    """Of `setting.runs` alarms, each from its beginning."""
    rng = np.random.default_rng(setting.seed)
    rows = np.sort([_rows_until(begin(), rng, setting) for _ in range(setting.runs)])
    middle, often = (float(rows[math.ceil(share * len(rows)) - 1]) for share in (0.5, OFTEN))

    def seconds(count: float) -> float | None:
        return count / setting.rows_per_s + setting.after_s if math.isfinite(count) else None

    return Delay(
        subject=subject, effect=effect, found=float(np.isfinite(rows).mean()),
        rows_median=int(middle) if math.isfinite(middle) else None,
        rows_often=int(often) if math.isfinite(often) else None,
        seconds_median=seconds(middle), seconds_often=seconds(often),
    )  # fmt: skip


def _rows_until(take: Take, rng: np.random.Generator, setting: Setting) -> float:
    """Rows until the alarm; infinite where there is none within `most_rows`."""
    done, rows = 0, FIRST_ROWS
    while done < setting.most_rows:
        rows = min(rows, setting.most_rows - done)
        at_T = (done + np.arange(1, rows + 1)) / setting.rows_per_s
        sounded = take(rng, at_T)
        if sounded:
            return float(round(sounded[0].at_s * setting.rows_per_s))
        done, rows = done + rows, 2 * rows
    return math.inf


def _never(subject: str, effect: float, words: str) -> Delay:
    return Delay(
        subject=subject, effect=effect, found=0.0, rows_median=None, rows_often=None, seconds_median=None,
        seconds_often=None, words=words,
    )  # fmt: skip


def _drifted(reference: NumberSketch | ValueSketch, effect: float) -> Draw:
    if isinstance(reference, NumberSketch):
        places, shares = reference.places, reference.counts / reference.counts.sum()
        moved = reference.deviation * effect
        return lambda rng, rows: places[rng.choice(len(shares), rows, p=shares)] + moved
    names = sorted(reference.counts, key=lambda name: (-reference.counts[name], name))
    shares = np.asarray([reference.counts[name] for name in names], dtype=float)
    shares = shares / shares.sum()
    target = np.eye(len(names))[0]
    low, high = 0.0, 1.0  # how far towards the most frequent value: the distance is the effect there
    for _ in range(40):
        middle = (low + high) / 2
        distance = float(jensen_shannon(shares[None], ((1 - middle) * shares + middle * target)[None])[0])
        low, high = (middle, high) if distance < effect else (low, middle)
    mixed = (1 - low) * shares + low * target
    words = np.asarray(names, dtype=object)
    return lambda rng, rows: words[rng.choice(len(words), rows, p=mixed / mixed.sum())].tolist()
