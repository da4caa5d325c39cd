"""Tensors that an example brings along: as they are, or each place of them on a scale of its own.

Shape legend: N rows, P places of one tensor.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from mlratchet.models.config import StrictModel
from mlratchet.models.errors import DataError
from mlratchet.models.preparation.base import NothingToFit, Pass, PiecewisePreparation, State, tensor_name
from mlratchet.models.preparation.cells import column_of, not_given, place
from mlratchet.models.preparation.exact import Moments
from mlratchet.models.preparation.numbers import scale_of
from mlratchet.models.schema.cells import one_array
from mlratchet.models.tensors.named import Inputs
from mlratchet.models.tensors.spec import TensorSpec
from typing_extensions import override

Array = np.ndarray[Any, Any]


class TensorOptions(StrictModel):
    """How a tensor is prepared."""

    scale: Literal["none", "standard"] = "none"
    """standard: mean 0 and deviation 1 of each place over the training rows."""


class TensorPreparation(PiecewisePreparation):
    """One tensor -> itself, by its name, float32; 0 where none is given."""

    Options = TensorOptions
    options: TensorOptions

    def begin(self) -> Pass:
        """Moments, where a scale is asked for."""
        ((name, kind),) = self.fields.items()
        return _Places(name, _size(kind.shape)) if self.options.scale == "standard" else NothingToFit()

    def apply(self, examples: pa.Table, state: State) -> Inputs:
        """As `Preparation.apply`."""
        ((name, kind),) = self.fields.items()
        values_NP, given_N = _values(examples, name, _size(kind.shape))
        if not kind.nullable and not given_N.all():
            raise not_given(examples, name, int(np.argmin(given_N)))
        finite_N = np.isfinite(values_NP).all(axis=1)
        if not finite_N.all():
            where = place(examples, int(np.argmin(finite_N)))
            raise DataError(f"{where}: tensor {name!r} holds NaN or infinity; deliver finite numbers")
        if state.document:
            mean_P, scale_P = state.once("scale", lambda: _scale(state))
            values_NP = np.where(given_N[:, None], (values_NP - mean_P) / scale_P, 0.0)
        return Inputs({tensor_name(name): values_NP.astype(np.float32).reshape(len(values_NP), *(kind.shape or ()))})

    @override
    def tensors(self, state: State) -> tuple[TensorSpec, ...]:
        """As `Preparation.tensors`."""
        ((name, kind),) = self.fields.items()
        return (TensorSpec(name=tensor_name(name), shape=tuple(kind.shape or ()), dtype="float32"),)


def _size(shape: tuple[int, ...] | None) -> int:
    return math.prod(shape or ())


def _scale(state: State) -> tuple[Array, Array]:
    return np.array(state.document["mean"]), scale_of(np.array(state.document["deviation"]))


def _values(examples: pa.Table, name: str, size: int) -> tuple[Array, Array]:
    """(N, P) float64, 0 where nothing is given, NaN where a place lacks its number; and where something is given."""
    whole = one_array(column_of(examples, name))
    given_N = np.asarray(whole.is_valid())
    found = np.zeros((len(whole), size))
    found[given_N] = whole.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False).reshape(-1, size)
    return found, given_N


class _Places(Pass):
    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.moments = Moments(size)

    def see(self, piece: pa.Table) -> None:
        values_NP, given_N = _values(piece, self.name, self.size)
        given_PN = np.broadcast_to(given_N, (self.size, len(given_N))) & np.isfinite(values_NP.T)
        self.moments.add(np.where(given_PN, values_NP.T, 0.0), given_PN)

    def end(self) -> State:
        return State(document={"mean": self.moments.means.tolist(), "deviation": self.moments.deviations.tolist()})
