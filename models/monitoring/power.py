"""Power of the alarm: which loss of quality, and which drift, would be found in how many rows and how much time.

Simulated from the rows that a version was tested on, with the same alarm at the same rate of false alarms, so before
anything is deployed.

Shape legend: T rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from mlratchet.models.monitoring.column_watch import ColumnWatch, watch_of
from mlratchet.models.monitoring.config import QUIET
from mlratchet.models.monitoring.drift import LEAST_ROWS, drift, jensen_shannon
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
WORLDS, WINDOWS = 10, 4  # that the reference may be of, and windows of each, for each effect
WINDOW_ROWS = 10_000  # drawn at most: a drift that is to be found shows as surely in fewer rows
MOST_WINDOWS = 2_000


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


@dataclass(frozen=True, kw_only=True)
class DriftRule:
    """When a window shows a drift."""

    window_s: float
    minimum_rows: int
    minimum_effect: float
    scores: int
    """Of the whole pipeline (`column_watch.scores_of`)."""
    quiet_up_to: float = QUIET


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
    subject: str, reference: Sketch, kind: Kind, effects: Sequence[float], rule: DriftRule, setting: Setting
) -> list[Delay]:
    """For each size of drift of one field: a number moves by so many standard deviations; of a category the most
    frequent value becomes more frequent until the shares are that far.

    What a window says is measured on windows as the monitor does; the alarm is over windows. They are drawn from worlds
    that the reference may be a sample of (its bootstrap): what it says by chance too much or too little, every window
    of a world finds. Raises ``ValueError`` for a sketch of vectors, which cannot be drawn from.
    """
    if not isinstance(reference, NumberSketch | ValueSketch):
        raise ValueError(f"field {subject!r}: rows cannot be drawn from a sketch of {reference.form}")
    rows = max(1, int(setting.rows_per_s * rule.window_s))
    watch = watch_of(
        reference, kind, minimum_effect=rule.minimum_effect, among=rule.scores, quiet_up_to=rule.quiet_up_to
    )
    found = []
    for effect in effects:
        if effect <= rule.minimum_effect:
            found.append(_never(subject, effect, f"at or below the minimum effect {rule.minimum_effect:g}"))
            continue
        if watch is None:
            found.append(_never(subject, effect, f"{reference.n} values in the reference, expected {LEAST_ROWS}"))
            continue
        said = cycle(_said_by_worlds(watch, reference, kind, effect, min(rows, WINDOW_ROWS), rule, setting.seed))
        by_window = replace(setting, rows_per_s=1 / rule.window_s, after_s=0.0, most_rows=MOST_WINDOWS)
        delay = _simulated(subject, effect, by_window, partial(_watch_windows, watch, said, by_window))
        found.append(
            replace(delay, rows_median=_times(delay.rows_median, rows), rows_often=_times(delay.rows_often, rows))
        )
    return found


def _times(windows: int | None, rows: int) -> int | None:
    return windows * rows if windows is not None else None


def _said_by_worlds(
    watch: ColumnWatch, reference: NumberSketch | ValueSketch, kind: Kind, effect: float, rows: int, rule: DriftRule,
    seed: int,
) -> list[Array]:  # fmt: skip
    """Of each world the (W, K) logarithms of the e-values of as many windows with the drift."""
    rng, found = np.random.default_rng(seed), []
    for world in range(WORLDS):
        drawn, said = _drifted(reference, effect, rng), []
        for window in range(WINDOWS):
            sketch = reference.like()
            sketch.update(drawn(rng, rows))
            enough = rows >= rule.minimum_rows
            told = drift(reference, sketch, kind, seed=WINDOWS * world + window) if enough else None
            moved = told.least > rule.minimum_effect if told is not None and not told.doubt else None
            said.append(watch.logarithms(sketch, moved)[0])
        found.append(np.asarray(said))
    return found


def _watch_windows(watch: ColumnWatch, worlds: Iterator[Array], setting: Setting) -> Take:
    """Windows of the next world."""
    said_WK = next(worlds)
    alarm = JointAlarm({"drift": watch.stream}, false_alarms_per_year=setting.rate, started_s=0.0)
    return lambda rng, at_T: alarm.update({"drift": (said_WK[rng.integers(0, len(said_WK), len(at_T))], at_T)})


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


def _drifted(reference: NumberSketch | ValueSketch, effect: float, rng: np.random.Generator) -> Draw:
    """Of a world that the reference may be a sample of."""
    if isinstance(reference, NumberSketch):
        places, shares = reference.places, _resampled(reference.counts, rng)
        moved = reference.deviation * effect
        return lambda rng, rows: places[rng.choice(len(shares), rows, p=shares)] + moved
    names = sorted(reference.counts, key=lambda name: (-reference.counts[name], name))
    shares = _resampled(np.asarray([reference.counts[name] for name in names]), rng)
    target = np.eye(len(names))[0]
    low, high = 0.0, 1.0  # how far towards the most frequent value: the distance is the effect there
    for _ in range(40):
        middle = (low + high) / 2
        distance = float(jensen_shannon(shares[None], ((1 - middle) * shares + middle * target)[None])[0])
        low, high = (middle, high) if distance < effect else (low, middle)
    mixed = (1 - low) * shares + low * target
    words = np.asarray(names, dtype=object)
    return lambda rng, rows: words[rng.choice(len(words), rows, p=mixed / mixed.sum())].tolist()


def _resampled(counts: Array, rng: np.random.Generator) -> Array:
    """Shares of as many draws as there are counts."""
    total = int(counts.sum())
    return np.asarray(rng.multinomial(total, counts / total) / total)
