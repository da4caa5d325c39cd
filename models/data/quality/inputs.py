"""Inputs that carry nothing, or no number.

Shape legend: N records of a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.data.quality.measure import Measure, share
from mlratchet.models.sources.record_table import inputs_in
from mlratchet.models.tensors.named import Column, Ragged

if TYPE_CHECKING:
    import pyarrow as pa

Flags = np.ndarray[Any, np.dtype[np.bool_]]


class InputValues:
    """Counts over the records."""

    def __init__(self) -> None:
        self._n = 0
        self._counts = {"constant": 0, "broken": 0}
        self._examples = {"constant": "", "broken": ""}

    def add(self, table: pa.Table) -> None:
        """The next records."""
        self._n += table.num_rows
        columns = list(inputs_in(table).columns.values())
        found = {"constant": _constant(columns, table.num_rows), "broken": _broken(columns, table.num_rows)}
        for name, flags in found.items():
            self._counts[name] += int(flags.sum())
            if flags.any() and not self._examples[name]:
                self._examples[name] = table["id"][int(flags.argmax())].as_py()

    def measures(self) -> dict[str, Measure]:
        """Of all of them."""
        shown = {name: f"e.g. {identity}" if identity else "" for name, identity in self._examples.items()}
        names = {"constant_input_fraction": "constant", "non_finite_fraction": "broken"}
        return {
            name: Measure(value=share(self._counts[of], self._n), n=self._n, detail=shown[of])
            for name, of in names.items()
        }


def _constant(columns: list[Column], count: int) -> Flags:
    """(N,) Of several tensors, each that has more than one value is constant, and there is one."""
    several, constant = np.zeros(count, bool), np.ones(count, bool)
    for one in columns:
        has_several, same = _same(one)
        several |= has_several
        constant &= same | ~has_several
    return several & constant


def _same(column: Column) -> tuple[Flags, Flags]:
    """(N,) Which rows have more than one value, and in which all are the same."""
    if not isinstance(column, Ragged):
        flat = column.reshape(len(column), -1)
        several = np.full(len(flat), flat.shape[1] > 1)
        return several, flat.min(axis=1) == flat.max(axis=1) if flat.shape[1] else several
    flat, offsets = _flat(column)
    several = np.diff(offsets) > 1
    same = np.zeros(len(several), bool)
    begins, ends = offsets[:-1][several], offsets[1:][several]
    if len(begins):
        # a stretch per row that has several, and one between each two of them, which is left out again
        bounds = np.stack([begins, ends], axis=1).ravel()
        bounds = bounds[:-1] if bounds[-1] == len(flat) else bounds
        least, most = (reduce.reduceat(flat, bounds)[::2] for reduce in (np.minimum, np.maximum))
        same[several] = least == most
    return several, same


def _broken(columns: list[Column], count: int) -> Flags:
    """(N,) Which have a value that is no finite number."""
    found = np.zeros(count, bool)
    for one in columns:
        if not np.issubdtype(one.dtype, np.floating):
            continue
        if not isinstance(one, Ragged):
            found |= ~np.isfinite(one.reshape(count, -1)).all(axis=1)
            continue
        flat, offsets = _flat(one)
        places = np.flatnonzero(~np.isfinite(flat))
        found[np.searchsorted(offsets, places, side="right") - 1] = True
    return found


def _flat(column: Ragged) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Its values one after the other, and where each row begins and ends (N + 1,)."""
    size = int(np.prod(column.shape, dtype=np.int64))
    return column.values.reshape(-1), np.asarray(column.offsets) * size
