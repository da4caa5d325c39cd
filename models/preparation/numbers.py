"""Numbers: gaps are filled and indicated, tails cut, and each column brought to a scale of its own.

Shape legend: F fields, N rows, C columns of the tensor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import NUMBERS, Feature, Pass, PiecewisePreparation, State
from mlratchet.models.preparation.cells import floats_of, not_given
from mlratchet.models.preparation.exact import LARGEST, Moments
from mlratchet.models.preparation.meaning import Meaning
from mlratchet.models.preparation.quantiles import BinnedCounts
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from pydantic import Field, field_validator
from typing_extensions import override

BLOCK = 65_536  # values that are prepared at once, so that they stay in the cache
LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
NORMAL_IQR = 1.3489795003921634  # between the quartiles of a normal distribution of deviation 1

Array = np.ndarray[Any, Any]


class NumericOptions(StrictModel):
    """How a number is prepared."""

    impute: Literal["median", "mean"] | float = "median"
    """What stands for a number that is not given."""
    indicator: bool | None = None
    """Whether a column says that it was not given; null: where the schema says nullable."""
    log: bool = False
    """sign(x) * log(1 + |x|) first: for amounts that spread over powers of ten."""
    clip: Annotated[tuple[float, float], Field(strict=False)] | None = None
    """Quantiles of the training rows, e.g. [0.01, 0.99]: what lies beyond is set to them."""
    scale: Literal["standard", "robust", "none"] = "standard"
    """standard: mean 0, deviation 1; robust: median 0, and quartiles as far apart as of a normal distribution."""
    limit: Annotated[float, Field(gt=0)] | None = 1000.0
    """Deviations at which a scaled value is cut: no row of a million lies beyond 1,000. null: nowhere."""

    @field_validator("clip")
    @classmethod
    def _quantiles(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1] <= 1:
            raise ValueError(f"expected two quantiles from 0 to 1, the lower first, got {list(value)}")
        return value

    @property
    def bound(self) -> float:
        """At which prepared values are cut: there is nothing beyond the largest of float32."""
        return self.limit if self.limit is not None and self.scale != "none" else LARGEST_FLOAT32

    @property
    def by_rank(self) -> bool:
        """Whether something is fitted that only the order of values tells, whatever is missing."""
        return self.clip is not None or self.scale == "robust"


class NumberPreparation(PiecewisePreparation):
    """Number fields with the same options -> "numbers" (N, C): a column per field, then one per indicator."""

    Options = NumericOptions
    options: NumericOptions

    @property
    def indicated(self) -> tuple[str, ...]:
        """Fields with a column that says whether they are given."""
        wanted = self.options.indicator
        return tuple(name for name, one in self.fields.items() if (one.nullable if wanted is None else wanted))

    def begin(self) -> Pass:
        """Ranks and moments together, where values are not cut; else ranks first."""
        return _First(self.fields, self.options)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        fitted = self._fitted(state)
        columns = [floats_of(examples, name) for name in self.fields]
        count = examples.num_rows
        out_NC = np.empty((count, len(self.fields) + len(fitted.indicated)), dtype=np.float32)
        step = max(1, BLOCK // len(columns))
        for at in range(0, count, step):
            x_FN = np.array([one[at : at + step] for one in columns])
            given_FN = np.abs(x_FN) <= LARGEST
            if not given_FN.all():
                self._refuse_gaps(examples, given_FN, at, fitted)
            fitted.write(x_FN, given_FN, out_NC[at : at + step])
        return Inputs({NUMBERS: out_NC})

    @override
    def apply_few(self, columns: Mapping[str, list[Any]], state: State) -> Inputs:
        """As `Preparation.apply_few`."""
        fitted = self._fitted(state)
        x_FN = np.array([columns[name] for name in self.fields], dtype=np.float64)  # None becomes NaN
        out_NC = np.empty((x_FN.shape[1], len(x_FN) + len(fitted.indicated)), dtype=np.float32)
        fitted.write(x_FN, np.abs(x_FN) <= LARGEST, out_NC)
        return Inputs({NUMBERS: out_NC})

    def _fitted(self, state: State) -> _Fitted:
        return state.once("fitted", lambda: _Fitted.of(state, self))

    def _refuse_gaps(self, examples: pa.Table, given_FN: Array, at: int, fitted: _Fitted) -> None:
        gaps_FN = ~given_FN & ~fitted.nullable[:, None]
        if gaps_FN.any():
            row = int(np.flatnonzero(gaps_FN.any(axis=0))[0])
            raise not_given(examples, list(self.fields)[int(np.argmax(gaps_FN[:, row]))], at + row)

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=NUMBERS, shape=(len(self.fields) + len(self.indicated),), dtype="float32"),)

    @override
    def features(self, state: State) -> tuple[Feature, ...]:
        """Fields, then indicators."""
        named = [(name, name) for name in self.fields] + [(f"{name} is not given", name) for name in self.indicated]
        return tuple(
            Feature(name=name, field=field, tensor=NUMBERS, column=at) for at, (name, field) in enumerate(named)
        )

    @override
    def meanings(self, state: State) -> tuple[Meaning, ...]:
        """Centre, spread and filling of each field; then the indicators."""
        fitted = _Fitted.of(state, self)
        found = []
        for at, name in enumerate(self.fields):
            center, spread = float(fitted.center[at]), float(fitted.spread[at])
            indicator = f"{name} is not given" if name in self.indicated else None
            found.append(
                Meaning(
                    name=name,
                    form=f"number{' log' if self.options.log else ''}",
                    scale=(center, spread),
                    gap=(float(fitted.fill[at]) - center) / spread if fitted.nullable[at] else None,
                    indicator=indicator,
                )
            )
        return (*found, *(Meaning(name=f"{name} is not given", form="given") for name in self.indicated))


def transformed(x: Array, log: bool) -> Array:
    """On the scale on which centre and spread are fitted."""
    return np.copysign(np.log1p(np.abs(x)), x) if log else x


def scale_of(deviation: Array) -> Array:
    """What values are divided by: infinity for a constant column, so that it is 0 whatever comes later."""
    return np.where(deviation > 0, deviation, np.inf)


class _First(Pass):
    """Ranks, and moments where no rank decides what they are over."""

    def __init__(self, fields: Mapping[str, Any], options: NumericOptions) -> None:
        self.names, self.options = list(fields), options
        median = options.impute == "median"
        self.ranks = {n: BinnedCounts() for n, one in fields.items() if options.by_rank or (median and one.nullable)}
        self.nullable = [one.nullable for one in fields.values()]
        self.moments = Moments(len(self.names))

    def see(self, piece: pa.Table) -> None:
        """As `Pass.see`."""
        x_FN, given_FN = _given(piece, self.names, log=self.options.log)
        for name, values_N, given_N in zip(self.names, x_FN, given_FN, strict=True):
            if name in self.ranks:
                self.ranks[name].add(values_N[given_N])
        if self.options.clip is None:
            self.moments.add(x_FN, given_FN)

    def end(self) -> Pass | State:
        """As `Pass.end`."""
        if self.options.clip is None:
            return self.state(self.moments, None)
        low_high = np.array([[self.ranks[name].quantile(share) for share in self.options.clip] for name in self.names])
        return _Second(self, low_high)

    def state(self, moments: Moments, low_high_F2: Array | None) -> State:
        """All of it."""
        fields = {}
        for at, name in enumerate(self.names):
            mean, deviation = float(moments.means[at]), float(moments.deviations[at])
            found: dict[str, Any] = {"given": int(moments.given_F[at]), "mean": mean, "deviation": deviation}
            if low_high_F2 is not None:
                found |= {"low": float(low_high_F2[at, 0]), "high": float(low_high_F2[at, 1])}
            if self.options.by_rank:
                found |= {part: self.ranks[name].quantile(q) for part, q in _QUARTILES.items()}
            if self.nullable[at]:
                found["fill"] = self._fill(name, mean, found)
            fields[name] = found
        return State(document={"fields": fields})

    def _fill(self, name: str, mean: float, found: Mapping[str, Any]) -> float:
        impute = self.options.impute
        if impute == "mean":
            return mean
        if isinstance(impute, float):
            return float(transformed(np.array([impute]), self.options.log)[0])
        low, high = found.get("low", -math.inf), found.get("high", math.inf)
        return float(min(max(self.ranks[name].quantile(0.5), low), high))


_QUARTILES: Mapping[str, float] = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}


class _Second(Pass):
    """Moments of what was cut."""

    def __init__(self, first: _First, low_high_F2: Array) -> None:
        self.first, self.low_high_F2 = first, low_high_F2

    def see(self, piece: pa.Table) -> None:
        """As `Pass.see`."""
        x_FN, given_FN = _given(piece, self.first.names, log=self.first.options.log)
        self.first.moments.add(np.clip(x_FN, self.low_high_F2[:, :1], self.low_high_F2[:, 1:]), given_FN)

    def end(self) -> State:
        """As `Pass.end`."""
        return self.first.state(self.first.moments, self.low_high_F2)


def _given(piece: pa.Table, names: Sequence[str], *, log: bool) -> tuple[Array, Array]:
    """Values (F, N), 0 where nothing is given, and where something is."""
    x_FN = np.array([floats_of(piece, name) for name in names])
    given_FN = np.abs(x_FN) <= LARGEST
    x_FN[~given_FN] = 0.0
    return transformed(x_FN, log), given_FN


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """A state as arrays, a value per field."""

    log: bool
    center: Array
    spread: Array
    fill: Array  # after the logarithm
    nullable: Array
    clip: Array | None
    limit: float
    indicated: Array  # places of the fields

    @classmethod
    def of(cls, state: State, preparation: NumberPreparation) -> _Fitted:
        """From the document."""
        found = [state.document["fields"][name] for name in preparation.fields]
        center, spread = zip(*(_scale(one, preparation.options.scale) for one in found), strict=True)
        clipped = preparation.options.clip is not None
        indicated = [list(preparation.fields).index(name) for name in preparation.indicated]
        return cls(
            log=preparation.options.log,
            center=np.array(center),
            spread=np.array(spread),
            fill=np.array([one.get("fill", 0.0) for one in found]),
            nullable=np.array([one.nullable for one in preparation.fields.values()]),
            clip=np.array([[one["low"], one["high"]] for one in found]) if clipped else None,
            limit=preparation.options.bound,
            indicated=np.array(indicated, dtype=np.int64),
        )

    def write(self, x_FN: Array, given_FN: Array, out_NC: Array) -> None:
        """Prepare one block into its place."""
        gaps = not given_FN.all()
        if gaps:
            x_FN[~given_FN] = 0.0
        x_FN = transformed(x_FN, self.log)
        if self.clip is not None:
            np.clip(x_FN, self.clip[:, :1], self.clip[:, 1:], out=x_FN)
        if gaps:
            x_FN = np.where(given_FN, x_FN, self.fill[:, None])
        x_FN -= self.center[:, None]
        x_FN /= self.spread[:, None]
        np.clip(x_FN, -self.limit, self.limit, out=x_FN)
        out_NC[:, : len(x_FN)] = x_FN.T
        out_NC[:, len(x_FN) :] = ~given_FN[self.indicated].T


def _scale(found: Mapping[str, float], kind: str) -> tuple[float, float]:
    """Centre and spread of one field."""
    if kind == "none":
        return 0.0, 1.0
    between = found["upper_quartile"] - found["lower_quartile"] if kind == "robust" else 0.0
    if between > 0:
        return found["median"], between / NORMAL_IQR
    return found["median"] if kind == "robust" else found["mean"], float(scale_of(np.array(found["deviation"])))
