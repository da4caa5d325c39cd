"""The number that a regression learns: on a scale of its own while it trains, in its own unit in every answer."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.preparation.base import Pass, PiecewisePreparation, State
from mlratchet.models.preparation.cells import floats_of, not_given
from mlratchet.models.preparation.exact import LARGEST, Moments
from mlratchet.models.preparation.numbers import transformed
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from typing_extensions import override

TARGET = "target"

Array = np.ndarray[Any, Any]


class TargetOptions(StrictModel):
    """How a target is prepared."""

    log: bool = False
    """sign(y) * log(1 + |y|) first: for amounts that spread over powers of ten."""
    scale: Literal["standard", "none"] = "standard"
    """standard: mean 0, deviation 1 over the training rows."""


class TargetPreparation(PiecewisePreparation):
    """One column of numbers -> "target" (N,) float32, and back."""

    Options = TargetOptions
    options: TargetOptions

    def begin(self) -> Pass:
        """Moments."""
        return _Moments(next(iter(self.fields)), self.options)

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        (name,) = self.fields
        values_N = floats_of(examples, name)
        given_N = np.abs(values_N) <= LARGEST
        if not given_N.all():
            raise not_given(examples, name, int(np.argmin(given_N)))
        mean, scale = _scale(state)
        found = (transformed(values_N, self.options.log) - mean) / scale
        return Inputs({TARGET: found.astype(np.float32)})

    def inverse(self, outputs: Array, state: State) -> Array:
        """Outputs of a model, of any shape, in the unit of the target; float64."""
        mean, scale = _scale(state)
        found = outputs.astype(np.float64) * scale + mean
        return np.copysign(np.expm1(np.abs(found)), found) if self.options.log else found

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        return (TensorSpec(name=TARGET, shape=(), dtype="float32"),)


def _scale(state: State) -> tuple[float, float]:
    """A constant target has scale 1: it is learnt as the bias that it is."""
    return state.document["mean"], state.document["deviation"] or 1.0


class _Moments(Pass):
    def __init__(self, name: str, options: TargetOptions) -> None:
        self.name, self.options = name, options
        self.moments = Moments(1)

    def see(self, piece: pa.Table) -> None:
        values_N = floats_of(piece, self.name)
        given_N = np.abs(values_N) <= LARGEST
        values_N = transformed(np.where(given_N, values_N, 0.0), self.options.log)
        self.moments.add(values_N[None], given_N[None])

    def end(self) -> State:
        if self.options.scale == "none":
            return State(document={"mean": 0.0, "deviation": 1.0})
        return State(document={"mean": float(self.moments.means[0]), "deviation": float(self.moments.deviations[0])})
