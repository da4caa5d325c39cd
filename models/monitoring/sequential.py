"""Bounds and alarms that hold however often they are looked at: a mean of bounded losses, and a rise of it.

Sources: Waudby-Smith and Ramdas (2024), Estimating means of bounded random variables by betting, JRSS B 86 (`Bound`);
Shin, Ramdas and Rinaldo (2022), E-detectors: a nonparametric framework for sequential change detection, in
Shiryaev-Roberts form (`Alarm`, `JointAlarm`).

Shape legend: T rows in the order of their requests, C cells of candidate means, K bets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

YEAR_S = 365.25 * 86_400
CELLS = 1000  # of candidate means; an interval ends at the end of a cell
CHUNK = 4_000_000  # numbers of one intermediate table
BETS = 10  # from the largest allowed, each half of the one before: each is near the best for some size of rise
EVENTS = 65_536  # rows of all streams that are looked at together
AFTER_ALARM = 256


def row_within(values: Any, lowest: float, highest: float) -> Array:
    """(T,) values on the scale from 0 to 1. Raises ``ValueError`` for such out of [lowest, highest] or not finite."""
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1:
        raise ValueError(f"expected a row of values, got shape {found.shape}")
    if len(found) and not (lowest <= found.min() and found.max() <= highest):
        raise ValueError(f"values must lie within [{lowest:g}, {highest:g}], got {found.min():g} to {found.max():g}")
    return (found - lowest) / (highest - lowest)


class Bound:
    """An interval of the mean of values within [lowest, highest] that holds at every moment at once.

    With probability `confidence` the mean lies in every interval that is ever shown, whatever the distribution,
    provided that each value has the same mean given those before it. Candidates stand in cells; a cell is ruled out,
    for good, when the capital of a bet against every mean in it has grown by 1 / (1 - confidence).
    """

    def __init__(self, *, confidence: float = 0.95, lowest: float = 0.0, highest: float = 1.0) -> None:
        if not 0 < confidence < 1:
            raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
        if not lowest < highest:
            raise ValueError(f"lowest must be below highest, got {lowest:g} and {highest:g}")
        self.confidence, self.lowest, self.highest = confidence, lowest, highest
        self.n, self._sum, self._deviation = 0, 0.0, 0.0
        self._cells = np.arange(CELLS)
        self._up, self._down = np.zeros(CELLS), np.zeros(CELLS)  # logarithms of the capitals

    @property
    def mean(self) -> float:
        """Of all values; NaN before the first."""
        return self.lowest + (self.highest - self.lowest) * self._sum / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Of the mean, in the unit of the values."""
        span = self.highest - self.lowest
        return self.lowest + span * self._cells[0] / CELLS, self.lowest + span * (self._cells[-1] + 1) / CELLS

    def update(self, values_T: Any) -> tuple[float, float]:
        """Take up values in the order of their rows; the interval after them. Raises ``ValueError`` for values out of
        their bounds or not finite."""
        x_T = row_within(values_T, self.lowest, self.highest)
        start = 0
        while start < len(x_T):
            # few rows at first: a table of all of them by all cells would hold cells that are ruled out soon
            rows = min(max(64, self.n), max(1, CHUNK // len(self._cells)))
            self._bet(x_T[start : start + rows])
            start += rows
        return self.interval

    def _bet(self, x_T: Array) -> None:
        n_T = self.n + np.arange(1, len(x_T) + 1)
        mean_T = (0.5 + self._sum + np.cumsum(x_T)) / (n_T + 1)
        variance_T = (0.25 + self._deviation + np.cumsum((x_T - mean_T) ** 2)) / (n_T + 1)
        mean, variance = (0.5 + self._sum) / (self.n + 1), (0.25 + self._deviation) / (self.n + 1)
        before_T, spread_T = np.append(mean, mean_T[:-1]), np.append(variance, variance_T[:-1])
        low_C, high_C = self._cells / CELLS, (self._cells + 1) / CELLS
        gap_TC = before_T[:, None] - (low_C + high_C) / 2
        bet_TC = gap_TC / (spread_T[:, None] + gap_TC**2)
        # one bet for all means of a cell: the capital against the upper end is then the least of those upwards
        up_TC = np.log1p(np.clip(bet_TC, 0, 1 / (2 * high_C)) * (x_T[:, None] - high_C))
        down_TC = np.log1p(-np.clip(-bet_TC, 0, 1 / (2 * (1 - low_C))) * (x_T[:, None] - low_C))
        up_TC, down_TC = self._up + np.cumsum(up_TC, axis=0), self._down + np.cumsum(down_TC, axis=0)
        most_C = np.logaddexp(up_TC, down_TC).max(axis=0) - math.log(2)
        kept = np.flatnonzero(most_C < -math.log(1 - self.confidence))
        if not len(kept):  # the mean was not the same throughout; the cell that is least ruled out is what is left
            kept = np.asarray([int(np.argmin(most_C))])
        span = slice(kept[0], kept[-1] + 1)  # the hull
        self._cells, self._up, self._down = self._cells[span], up_TC[-1][span], down_TC[-1][span]
        self._deviation += float(((x_T - mean_T) ** 2).sum())
        self._sum += float(x_T.sum())
        self.n += len(x_T)

    def to_json(self) -> dict[str, Any]:
        """All that a later window needs to go on, as JSON values: at most some 40 KB, a few after some hundred rows."""
        return {
            "confidence": self.confidence, "lowest": self.lowest, "highest": self.highest, "n": self.n,
            "sum": self._sum, "deviation": self._deviation, "cell": int(self._cells[0]),
            "up": self._up.tolist(), "down": self._down.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Bound:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        found = cls(confidence=state["confidence"], lowest=state["lowest"], highest=state["highest"])
        found.n, found._sum, found._deviation = int(state["n"]), float(state["sum"]), float(state["deviation"])
        found._up, found._down = np.asarray(state["up"], dtype=float), np.asarray(state["down"], dtype=float)
        found._cells = int(state["cell"]) + np.arange(len(found._up))
        inside = len(found._cells) and found._cells[0] >= 0 and found._cells[-1] < CELLS
        if len(found._up) != len(found._down) or not inside:
            raise ValueError(f"state of a bound: {len(found._up)} and {len(found._down)} cells from {state['cell']}")
        return found


@dataclass(frozen=True, kw_only=True)
class Sounded:
    """An alarm."""

    at_s: float
    """Moment of the row that raised it, seconds since the epoch."""
    statistic: float
    """What reached the threshold, in years."""
    shares: Mapping[str, float]
    """Name of a stream -> its share of the statistic: the largest is what changed."""

    @property
    def leading(self) -> str:
        """The stream with the largest share."""
        return max(self.shares, key=lambda name: (self.shares[name], name))


@dataclass(frozen=True, kw_only=True)
class Stream:
    """What one stream of values promised: a mean of at most `limit`, of values within [lowest, highest]."""

    limit: float
    lowest: float = 0.0
    highest: float = 1.0

    def __post_init__(self) -> None:
        if not self.lowest < self.limit < self.highest:
            raise ValueError(
                f"limit must lie between {self.lowest:g} and {self.highest:g}, both excluded, got {self.limit:g}: "
                "no mean could be above it"
            )

    @property
    def share(self) -> float:
        """The limit on the scale from 0 to 1."""
        return (self.limit - self.lowest) / (self.highest - self.lowest)

    def logarithms(self, values_T: Any) -> Array:
        """(T, K) logarithms of the factors by which each bet grows; their mean is at most 1 while the promise holds."""
        x_T = row_within(values_T, self.lowest, self.highest)
        bets_K = 0.5 ** np.arange(BETS) / (2 * self.share)
        return np.log1p(bets_K * (x_T[:, None] - self.share))


Rows = dict[str, tuple[Array, Array]]
"""Stream -> (T, K) logarithms of factors, (T,) moments."""


def _cut(rows: Rows, moment: float, *, before: bool) -> Rows:
    """The rows up to a moment, or those after it."""
    places = {name: int(np.searchsorted(at_T, moment, side="right")) for name, (_, at_T) in rows.items()}
    cuts = {name: slice(None, place) if before else slice(place, None) for name, place in places.items()}
    return {name: (log_TK[cuts[name]], at_T[cuts[name]]) for name, (log_TK, at_T) in rows.items()}


class JointAlarm:
    """One alarm over several streams, with a stated rate of false alarms over all of them together.

    While the mean of every stream is at most its limit, given all rows taken up before, the mean time to an alarm is at
    least 1 / `false_alarms_per_year` years, whatever the traffic, how often anybody looks, and however the streams
    depend on each other. Per stream and bet R_n = (R_{n-1} + years since the row before) * (1 + bet * (x_n - limit));
    the statistic is the mean of all R; after an alarm all are 0. A stream may be behind the others, as labels are.
    """

    def __init__(self, streams: Mapping[str, Stream], *, false_alarms_per_year: float, started_s: float) -> None:
        if not streams:
            raise ValueError("expected one or more streams")
        if not false_alarms_per_year > 0:
            raise ValueError(f"false_alarms_per_year must be positive, got {false_alarms_per_year}")
        self.streams, self.false_alarms_per_year = dict(streams), false_alarms_per_year
        self.sounded: Sounded | None = None
        """The newest alarm of the last update; None: it had none."""
        self.n = dict.fromkeys(self.streams, 0)
        self._last = dict.fromkeys(self.streams, float(started_s))
        self._logs = {name: np.full(BETS, -np.inf) for name in self.streams}

    @property
    def threshold(self) -> float:
        """In years."""
        return 1 / self.false_alarms_per_year

    @property
    def statistic(self) -> float:
        """In years; an alarm is sounded where it reaches `threshold`."""
        return float(np.mean([np.exp(np.minimum(log_K, 600.0)).mean() for log_K in self._logs.values()]))

    def update(self, batches: Mapping[str, tuple[Any, Any]]) -> list[Sounded]:
        """Take up rows.

        Args:
            batches: Name of a stream -> (T,) values and (T,) moments in seconds since the epoch, which do not descend,
                also not against what was taken up before; streams without rows may be left out.

        Returns the alarms, in their order. Raises ``ValueError`` for other names, values out of bounds and moments that
        descend: nothing is taken up then.
        """
        held = {name: self._checked(name, *batch) for name, batch in batches.items()}
        found: list[Sounded] = []
        events = EVENTS
        while any(len(at_T) for _, at_T in held.values()):
            moments = np.concatenate([at_T[:events] for _, at_T in held.values()])
            until = float(np.partition(moments, min(events, len(moments)) - 1)[min(events, len(moments)) - 1])
            sounded = self._until_alarm(_cut(held, until, before=True))
            # after an alarm few rows at first: where there is one, another is often near
            events = AFTER_ALARM if sounded else min(2 * events, EVENTS)
            held = _cut(held, sounded.at_s if sounded else until, before=False)
            found += [sounded] if sounded else []
        self.sounded = found[-1] if found else None
        return found

    def _checked(self, name: str, values_T: Any, at_s_T: Any) -> tuple[Array, Array]:
        if name not in self.streams:
            raise ValueError(f"no stream {name!r}; expected one of {', '.join(self.streams)}")
        log_TK, at_T = self.streams[name].logarithms(values_T), np.asarray(at_s_T, dtype=np.float64)
        if at_T.shape != log_TK.shape[:1]:
            raise ValueError(f"stream {name!r}: {len(log_TK)} values at {at_T.shape} moments")
        if not (np.diff(at_T, prepend=self._last[name]) >= 0).all():
            raise ValueError(
                f"stream {name!r}: moments descend, or are before {self._last[name]:.3f} s; rows are taken up in the "
                "order of their requests"
            )
        return log_TK, at_T

    def _until_alarm(self, part: Rows) -> Sounded | None:
        """Go to the first alarm, or to the end."""
        paths = {name: self._path(name, *rows) for name, rows in part.items()}
        moments_E = np.unique(np.concatenate([at for _, at in part.values()])) if part else np.zeros(0)
        if not len(moments_E):
            return None
        means = {name: np.exp(np.minimum(path, 600.0)).mean(axis=1) for name, path in paths.items()}
        places = {name: np.searchsorted(part[name][1], moments_E, side="right") for name in part}
        resting = sum(
            float(np.exp(np.minimum(log_K, 600.0)).mean()) for name, log_K in self._logs.items() if name not in part
        )
        total_E = (sum(means[name][places[name]] for name in part) + resting) / len(self.streams)
        above = np.flatnonzero(total_E >= self.threshold)
        event = int(above[0]) if len(above) else len(moments_E) - 1
        for name in part:
            place = int(places[name][event])
            self._logs[name], self.n[name] = paths[name][place], self.n[name] + place
            self._last[name] = float(part[name][1][place - 1]) if place else self._last[name]
        return self._sound(float(moments_E[event])) if len(above) else None

    def _path(self, name: str, log_TK: Array, at_T: Array) -> Array:
        """(1 + T, K) logarithms of R before the first row and after each."""
        years_T = np.diff(at_T, prepend=self._last[name]) / YEAR_S
        grown_TK = np.cumsum(log_TK, axis=0)
        with np.errstate(divide="ignore"):
            entered_TK = np.log(years_T)[:, None] - (grown_TK - log_TK)
        path = np.logaddexp.accumulate(np.concatenate([self._logs[name][None], entered_TK]), axis=0)
        path[1:] += grown_TK
        return path

    def _sound(self, at_s: float) -> Sounded:
        means = {name: float(np.exp(np.minimum(log_K, 600.0)).mean()) for name, log_K in self._logs.items()}
        total = sum(means.values())
        found = Sounded(
            at_s=at_s,
            statistic=total / len(means),
            shares={name: value / total for name, value in means.items()},
        )
        # its own time goes on for each stream: one that is behind still has rows from before this moment
        self._logs = {name: np.full(BETS, -np.inf) for name in self.streams}
        return found

    def to_json(self) -> dict[str, Any]:
        """All that a later window needs to go on, as JSON values; R = 0 is written as null."""
        return {
            "false_alarms_per_year": self.false_alarms_per_year,
            "streams": {
                name: {
                    "limit": one.limit, "lowest": one.lowest, "highest": one.highest,
                    "n": self.n[name], "last_s": self._last[name],
                    "logs": [value if math.isfinite(value) else None for value in self._logs[name].tolist()],
                }
                for name, one in self.streams.items()
            },
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> JointAlarm:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        held: Mapping[str, Mapping[str, Any]] = state["streams"]
        streams = {
            name: Stream(limit=one["limit"], lowest=one["lowest"], highest=one["highest"]) for name, one in held.items()
        }
        found = cls(streams, false_alarms_per_year=state["false_alarms_per_year"], started_s=0.0)
        for name, one in held.items():
            if len(one["logs"]) != BETS:
                raise ValueError(f"state of an alarm: stream {name!r} has {len(one['logs'])} bets, expected {BETS}")
            found.n[name], found._last[name] = int(one["n"]), float(one["last_s"])
            found._logs[name] = np.asarray([-np.inf if log is None else log for log in one["logs"]], dtype=float)
        return found


class Alarm:
    """A `JointAlarm` over one stream: the mean of a loss is above `limit`."""

    NAME = "loss"

    def __init__(
        self,
        *,
        limit: float,
        false_alarms_per_year: float,
        started_s: float,
        lowest: float = 0.0,
        highest: float = 1.0,
    ) -> None:
        stream = Stream(limit=limit, lowest=lowest, highest=highest)
        self._joint = JointAlarm({self.NAME: stream}, false_alarms_per_year=false_alarms_per_year, started_s=started_s)

    def update(self, values_T: Any, at_s_T: Any) -> list[Sounded]:
        """Take up (T,) losses at (T,) moments, seconds since the epoch; the alarms in their order."""
        return self._joint.update({self.NAME: (values_T, at_s_T)})

    @property
    def n(self) -> int:
        """Rows that were taken up."""
        return self._joint.n[self.NAME]

    @property
    def statistic(self) -> float:
        """In years; an alarm is sounded where it reaches `threshold`."""
        return self._joint.statistic

    @property
    def threshold(self) -> float:
        """In years."""
        return self._joint.threshold

    @property
    def sounded(self) -> Sounded | None:
        """The newest alarm of the last update; None: it had none."""
        return self._joint.sounded

    def to_json(self) -> dict[str, Any]:
        """All that a later window needs to go on, as JSON values."""
        return self._joint.to_json()

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> Alarm:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        joint = JointAlarm.from_json(state)
        if list(joint.streams) != [cls.NAME]:
            raise ValueError(f"state of an alarm: streams {', '.join(joint.streams)}, expected {cls.NAME}")
        found = cls.__new__(cls)
        found._joint = joint
        return found
