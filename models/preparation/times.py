"""Times: where in the day, week and year a moment lies, on circles, and how long before the newest training row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import NUMBERS, Feature, Pass, PiecewisePreparation, State
from mlratchet.models.preparation.cells import column_of, not_given
from mlratchet.models.preparation.exact import Moments
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.preparation.numbers import scale_of
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field, model_validator
from typing_extensions import override

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
STEPS: Mapping[str, int] = {"hour": 1440, "weekday": 7, "day": 31, "month": 12, "day_of_year": 366}
"""Part -> places on its circle; an hour is told by the minute."""
LIMIT = 1000.0  # deviations from the mean at which an age is cut

Part = Literal["hour", "weekday", "day", "month", "day_of_year"]
Array = np.ndarray[Any, Any]


class TimeOptions(StrictModel):
    """How a time is prepared. All parts are in UTC."""

    parts: Annotated[tuple[Part, ...], Field(strict=False)] = ("hour", "weekday", "month")
    """A sine and a cosine each."""
    age: bool = True
    """Days before the newest training row, standardised: one number per moment, the same whenever it is asked."""
    indicator: bool | None = None
    """Whether a column says that it was not given; null: where the schema says nullable."""

    @model_validator(mode="after")
    def _something(self) -> TimeOptions:
        if not self.parts and not self.age:
            raise ValueError("neither parts nor age: nothing is left of the time; write drop for the field")
        return self


class TimePreparation(PiecewisePreparation):
    """One time field -> columns of "numbers": two per part, the age, the indicator."""

    Options = TimeOptions
    options: TimeOptions

    def begin(self) -> Pass:
        """The newest row, then how old the others are."""
        return _Newest(next(iter(self.fields)))

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        moments_N, given_N = _micros(examples, name)
        if not kind.nullable and not given_N.all():
            raise not_given(examples, name, int(np.argmin(given_N)))
        out_NC = np.zeros((len(given_N), self._width), dtype=np.float32)
        for at, part in enumerate(self.options.parts):
            out_NC[:, 2 * at : 2 * at + 2] = np.where(given_N[:, None], CIRCLES[part][place_in(part, moments_N)], 0.0)
        if self.options.age:
            fitted = state.document
            days_N = _days_before(moments_N, fitted["newest_us"])
            scaled_N = (days_N - fitted["mean_days"]) / scale_of(np.array(fitted["deviation_days"]))
            out_NC[:, 2 * len(self.options.parts)] = np.where(given_N, np.clip(scaled_N, -LIMIT, LIMIT), 0.0)
        if self._indicated:
            out_NC[:, -1] = ~given_N
        return Inputs({NUMBERS: out_NC})

    @property
    def _indicated(self) -> bool:
        (kind,) = self.fields.values()
        return kind.nullable if self.options.indicator is None else self.options.indicator

    @property
    def _width(self) -> int:
        return 2 * len(self.options.parts) + self.options.age + self._indicated

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=NUMBERS, shape=(self._width,), dtype="float32"),) if self._width else ()

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """In the order of columns."""
        (name,) = self.fields
        named = [f"{wave} of {name}'s {part}" for part in self.options.parts for wave in ("sine", "cosine")]
        named += [f"age of {name}"] * self.options.age + [f"{name} is not given"] * self._indicated
        return tuple(Feature(name=one, field=name, tensor=NUMBERS, column=at) for at, one in enumerate(named))

    @override
    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """Parts are what they are; an age is the moment on a scale of its own."""
        names, found = [one.name for one in self.features(state)], []
        gap = f"{next(iter(self.fields))} is not given" if self._indicated else None
        for name in names:
            scale = None
            if name.startswith("age of ") and self.options.age:
                fitted = state.document  # (newest - t - mean) / deviation, of -t
                center = fitted["mean_days"] - fitted["newest_us"] / DAY_US
                scale = (center, float(scale_of(np.array(fitted["deviation_days"]))))
            found.append(
                Meaning(name=name, form="time", scale=scale, gap=0.0, indicator=gap if scale else None)
                if scale
                else Meaning(name=name, form="time")
            )
        return tuple(found)


def _circle(steps: int) -> Array:
    angles = [2 * math.pi * at / steps for at in range(steps)]
    return np.array([[math.sin(one), math.cos(one)] for one in angles], dtype=np.float32)


CIRCLES: Mapping[str, Array] = {part: _circle(steps) for part, steps in STEPS.items()}
"""Part -> (steps, 2) sine and cosine."""


def place_in(part: str, moments_N: Array) -> Array:
    """(N,) int64: which step of its circle each moment (microseconds since 1970) is at; Monday and every first is 0."""
    days_N = np.floor_divide(moments_N, DAY_US)
    if part == "hour":
        return np.asarray((moments_N - days_N * DAY_US) // MINUTE_US)
    if part == "weekday":
        return np.asarray((days_N + 3) % 7)  # 1970 began on a Thursday
    dates_N = days_N.astype("datetime64[D]")
    months_N = dates_N.astype("datetime64[M]")
    if part == "month":
        return np.asarray(months_N.astype(np.int64) % 12)
    first = months_N if part == "day" else dates_N.astype("datetime64[Y]")
    return np.asarray((dates_N - first.astype("datetime64[D]")).astype(np.int64))


def _days_before(moments_N: Array, newest_us: int) -> Array:
    return (newest_us - moments_N) / DAY_US


def _micros(examples: pa.Table, name: str) -> tuple[Array, Array]:
    """Microseconds since 1970 in UTC, 0 where nothing is given, and where something is."""
    column = column_of(examples, name)
    if column.type != pa.timestamp("us", "UTC"):
        column = column.cast(pa.timestamp("us", "UTC"))
    whole = column.cast(pa.int64())
    given = np.asarray(whole.is_valid())
    return np.asarray(whole.fill_null(0) if whole.null_count else whole), given


class _Newest(Pass):
    def __init__(self, name: str) -> None:
        self.name = name
        self.newest: int | None = None

    def see(self, piece: pa.Table) -> None:
        moments_N, given_N = _micros(piece, self.name)
        if given_N.any():
            newest = int(moments_N[given_N].max())
            self.newest = newest if self.newest is None else max(self.newest, newest)

    def end(self) -> Pass:
        return _Ages(self.name, self.newest or 0)


class _Ages(Pass):
    def __init__(self, name: str, newest: int) -> None:
        self.name, self.newest = name, newest
        self.moments = Moments(1)

    def see(self, piece: pa.Table) -> None:
        moments_N, given_N = _micros(piece, self.name)
        self.moments.add(_days_before(moments_N, self.newest)[None], given_N[None])

    def end(self) -> State:
        mean, deviation = float(self.moments.means[0]), float(self.moments.deviations[0])
        return State(document={"newest_us": self.newest, "mean_days": mean, "deviation_days": deviation})
