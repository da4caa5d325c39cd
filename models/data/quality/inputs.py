"""Inputs that carry nothing, or no number."""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.sources.record import Record, arrays_of


class InputValues:
    """Counts over the records."""

    def __init__(self) -> None:
        self._n = self._constant = self._broken = 0
        self._examples = {"constant": "", "broken": ""}

    def add(self, record: Record) -> None:
        """The next record."""
        self._n += 1
        arrays = arrays_of(record.x)
        if _is_constant(arrays):
            self._constant += 1
            self._examples["constant"] = self._examples["constant"] or record.id
        if not all(map(_is_finite, arrays)):
            self._broken += 1
            self._examples["broken"] = self._examples["broken"] or record.id

    def measures(self) -> dict[str, Measure]:
        """Of all of them."""
        shown = {name: f"e.g. {identity}" if identity else "" for name, identity in self._examples.items()}
        n = self._n
        return {
            "constant_input_fraction": Measure(value=share(self._constant, n), n=n, detail=shown["constant"]),
            "non_finite_fraction": Measure(value=share(self._broken, n), n=n, detail=shown["broken"]),
        }


def _is_constant(arrays: list[np.ndarray[Any, Any]]) -> bool:
    """Of several tensors, each that has more than one value is constant, and there is one."""
    several = [one for one in arrays if one.size > 1]
    return bool(several) and all(one.min() == one.max() for one in several)


def _is_finite(one: np.ndarray[Any, Any]) -> bool:
    return not np.issubdtype(one.dtype, np.floating) or bool(np.isfinite(one).all())
