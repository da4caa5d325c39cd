"""Alarms with a stated rate of false ones, however often they are looked at: e-detectors over streams of rows and of
windows.

Source: Shin, Ramdas and Rinaldo (2022), E-detectors: a nonparametric framework for sequential change detection, in
Shiryaev-Roberts form.

Shape legend: T rows (or windows) in the order of their moments, K bets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mlratchet.models.monitoring.bound import row_within

Array = np.ndarray[Any, Any]

YEAR_S = 365.25 * 86_400
BETS = 10  # from the largest allowed, each half of the one before: each is near the best for some size of rise
MOST_OF_ALL = 0.95  # of what is held, in one bet
EVENTS = 65_536  # rows of all streams that are looked at together
AFTER_ALARM = 256


@dataclass(frozen=True, kw_only=True)
class Sounded:
    """An alarm."""

    at_s: float
    """Moment of the row that raised it, seconds since the epoch."""
    statistic: float
    """What reached the threshold, in years."""
    shares: Mapping[str, float]
    """Name of a stream -> its share of the statistic: the largest is what changed."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Name of an `EvidenceStream` -> the part of it that says most."""

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

    @property
    def width(self) -> int:
        """K, the bets."""
        return BETS

    def logarithms(self, values_T: Any) -> Array:
        """(T, K) logarithms of the factors by which each bet grows; their mean is at most 1 while the promise holds."""
        return growth(row_within(values_T, self.lowest, self.highest), self.share)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"limit": self.limit, "lowest": self.lowest, "highest": self.highest}


@dataclass(frozen=True, kw_only=True)
class EvidenceStream:
    """One that is given e-values in place of values: factors whose mean, given all before, is at most 1 while the
    promise holds, such as those of a whole window that `column_watch` makes of its sketch."""

    parts: tuple[str, ...]
    """What the promise is of: each has `BETS` factors."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("expected one or more parts")

    @property
    def width(self) -> int:
        """K, the bets of all parts."""
        return BETS * len(self.parts)

    def logarithms(self, values_TK: Any) -> Array:
        """(T, K) as they are given. Raises ``ValueError`` for another shape, NaN and infinity."""
        found = np.asarray(values_TK, dtype=np.float64)
        if found.ndim != 2 or found.shape[1] != self.width:
            raise ValueError(f"expected rows of {self.width} logarithms of e-values, got shape {found.shape}")
        if not np.isfinite(found).all():
            raise ValueError("logarithms of e-values must be finite")
        return found

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"parts": list(self.parts)}


AnyStream = Stream | EvidenceStream


def stream_from_json(state: Mapping[str, Any]) -> AnyStream:
    """The reverse of `to_json` of either. Raises ``ValueError`` for what is none."""
    if "parts" in state:
        return EvidenceStream(parts=tuple(state["parts"]))
    return Stream(limit=state["limit"], lowest=state["lowest"], highest=state["highest"])


def growth(scores_T: Array, share: float, bets_K: Array | None = None) -> Array:
    """(T, K) logarithms of 1 + bet * (score - share), of scores in [0, 1] whose mean is to be at most `share`.

    `bets_K`: each below 1 / share; None: from half of that, each half of the one before.
    """
    bets_K = 0.5 ** np.arange(BETS) / (2 * share) if bets_K is None else bets_K
    return np.asarray(np.log1p(bets_K * (scores_T[:, None] - share)))


def stakes(limit: float, begins: float, spread2: float) -> Array:
    """(K,) bets for `growth` that lose, in the long run, while the mean is below `begins`, though it may be above the
    limit.

    By log(1 + b x) = b x - (b x)^2 / 2: a bet b on a score grows where its mean is above the limit by more than
    b * (variance + square of that) / 2, so those below 2 d / (variance + d^2) are left out.

    Args:
        limit: The largest mean that is promised, between 0 and 1.
        begins: The mean from which they grow; at or below the limit: from there, as those of `growth` do.
        spread2: Variance of the score.
    """
    largest, beyond = 1 / (2 * limit), begins - limit
    least = largest * 0.5 ** (BETS - 1)
    if beyond > 0:
        least = min(max(least, 2 * beyond / (spread2 + beyond**2)), MOST_OF_ALL / limit)
    return np.geomspace(max(largest, least), least, BETS)


def mean_of_logs(logs: Array) -> Array:
    """Over the last axis, of e to their power; what is beyond a float is the largest."""
    return np.asarray(np.exp(np.minimum(logs, 600.0)).mean(axis=-1))


Rows = dict[str, tuple[Array, Array]]
"""Stream -> (T, K) logarithms of factors, (T,) moments."""


def _cut(rows: Rows, moment: float, *, before: bool) -> Rows:
    """The rows up to a moment, or those after it."""
    places = {name: int(np.searchsorted(at_T, moment, side="right")) for name, (_, at_T) in rows.items()}
    cuts = {name: slice(None, place) if before else slice(place, None) for name, place in places.items()}
    return {name: (log_TK[cuts[name]], at_T[cuts[name]]) for name, (log_TK, at_T) in rows.items()}


class JointAlarm:
    """One alarm over several streams, with a stated rate of false alarms over all of them together.

    While every stream keeps its promise, given all rows taken up before, the expected number of alarms in T years is at
    most T * `false_alarms_per_year`, whatever the traffic, how often anybody looks, and however the streams depend on
    each other. Per stream and bet R_n = (R_{n-1} + years since the row before) * factor; the statistic is the mean of
    all R. An alarm sounds where it reaches 1 / `false_alarms_per_year`, and takes off at least that much: the streams
    that lead begin anew, the others go on. So the statistic, less the years, plus that threshold times the alarms so
    far is a supermartingale that begins at 0, and no stream hides what another gathers. A stream may be behind the
    others, as labels are.
    """

    def __init__(self, streams: Mapping[str, AnyStream], *, false_alarms_per_year: float, started_s: float) -> None:
        if not streams:
            raise ValueError("expected one or more streams")
        if not false_alarms_per_year > 0:
            raise ValueError(f"false_alarms_per_year must be positive, got {false_alarms_per_year}")
        self.streams, self.false_alarms_per_year = dict(streams), false_alarms_per_year
        self.sounded: Sounded | None = None
        """The newest alarm of the last update; None: it had none."""
        self.n = dict.fromkeys(self.streams, 0)
        self._last = dict.fromkeys(self.streams, float(started_s))
        self._logs = {name: np.full(one.width, -np.inf) for name, one in self.streams.items()}

    @property
    def threshold(self) -> float:
        """In years."""
        return 1 / self.false_alarms_per_year

    @property
    def statistic(self) -> float:
        """In years; an alarm is sounded where it reaches `threshold`."""
        return float(np.mean([mean_of_logs(logs) for logs in self._logs.values()]))

    def continued(
        self, streams: Mapping[str, AnyStream], *, false_alarms_per_year: float, started_s: float
    ) -> JointAlarm:
        """With other streams: those that are the same go on, others begin anew. All do where there are fewer than
        before or the rate is another, as each would then weigh more than what it gathered was counted for."""
        found = JointAlarm(streams, false_alarms_per_year=false_alarms_per_year, started_s=started_s)
        if len(streams) >= len(self.streams) and false_alarms_per_year == self.false_alarms_per_year:
            for name, one in streams.items():
                if self.streams.get(name) == one:
                    found.n[name], found._last[name] = self.n[name], self._last[name]
                    found._logs[name] = self._logs[name]
        return found

    def update(self, batches: Mapping[str, tuple[Any, Any]]) -> list[Sounded]:
        """Take up rows.

        Args:
            batches: Name of a stream -> (T,) values, or (T, K) logarithms of e-values, and (T,) moments in seconds
                since the epoch, which do not descend, also not against what was taken up before; streams without rows
                may be left out.

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
            held = _cut(held, sounded[-1].at_s if sounded else until, before=False)
            found += sounded
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

    def _until_alarm(self, part: Rows) -> list[Sounded]:
        """Go to the first moment with an alarm, or to the end."""
        paths = {name: self._path(name, *rows) for name, rows in part.items()}
        moments_E = np.unique(np.concatenate([at for _, at in part.values()])) if part else np.zeros(0)
        if not len(moments_E):
            return []
        means = {name: mean_of_logs(path) for name, path in paths.items()}
        places = {name: np.searchsorted(part[name][1], moments_E, side="right") for name in part}
        resting = sum(float(mean_of_logs(logs)) for name, logs in self._logs.items() if name not in part)
        total_E = (sum(means[name][places[name]] for name in part) + resting) / len(self.streams)
        above = np.flatnonzero(total_E >= self.threshold)
        event = int(above[0]) if len(above) else len(moments_E) - 1
        for name in part:
            place = int(places[name][event])
            self._logs[name], self.n[name] = paths[name][place], self.n[name] + place
            self._last[name] = float(part[name][1][place - 1]) if place else self._last[name]
        found = []
        while self.statistic >= self.threshold:
            found.append(self._sound(float(moments_E[event])))
        return found

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
        """Tell it, and take it off: from the stream with the most on, until the threshold is paid for."""
        most = max(float(logs.max()) for logs in self._logs.values())
        means = {name: float(np.exp(logs - most).mean()) for name, logs in self._logs.items()}
        total = sum(means.values())
        found = Sounded(
            at_s=at_s,
            statistic=self.statistic,
            shares={name: value / total for name, value in means.items()},
            parts={
                name: one.parts[int(np.argmax(self._logs[name])) // BETS]
                for name, one in self.streams.items()
                if isinstance(one, EvidenceStream) and means[name] > 0
            },
        )
        paid = 0.0
        for name in sorted(means, key=lambda each: (-means[each], each)):
            if paid >= self.threshold:
                break
            paid += float(mean_of_logs(self._logs[name])) / len(means)
            # its own time goes on: a stream that is behind still has rows from before this moment
            self._logs[name] = np.full(self.streams[name].width, -np.inf)
        return found

    def to_json(self) -> dict[str, Any]:
        """All that a later window needs to go on, as JSON values; R = 0 is written as null."""
        return {
            "false_alarms_per_year": self.false_alarms_per_year,
            "streams": {
                name: {
                    **one.to_json(), "n": self.n[name], "last_s": self._last[name],
                    "logs": [value if math.isfinite(value) else None for value in self._logs[name].tolist()],
                }
                for name, one in self.streams.items()
            },
        }  # fmt: skip

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> JointAlarm:
        """The reverse of `to_json`. Raises ``ValueError`` for what is no such state."""
        held: Mapping[str, Mapping[str, Any]] = state["streams"]
        streams = {name: stream_from_json(one) for name, one in held.items()}
        found = cls(streams, false_alarms_per_year=state["false_alarms_per_year"], started_s=0.0)
        for name, one in held.items():
            if len(one["logs"]) != streams[name].width:
                raise ValueError(
                    f"state of an alarm: stream {name!r} has {len(one['logs'])} bets, expected {streams[name].width}"
                )
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
