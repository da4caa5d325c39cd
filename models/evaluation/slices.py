"""Slices: groups of test rows, by the values of columns or by a function of the user's."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.functions import load_function
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.nearest import nearest_hint

JOIN = ", "


def require_columns(wanted: Sequence[str], known: Sequence[str], where: str) -> None:
    """Raises ``ConfigurationError`` with the nearest name for a column that no row has."""
    for column in wanted:
        if column not in known:
            there = f"there are: {', '.join(known)}" if known else "the rows carry no columns; see source.slice_columns"
            hint = nearest_hint(column, known, otherwise=there)
            raise ConfigurationError(f"{where}: no column {column!r} to slice by; {hint}")


def slice_labels(
    rows: RowOutputs, *, columns: Sequence[str] = (), function: str | None = None, where: str = "slice"
) -> list[str]:
    """The slice of every row, e.g. ``region=eu, device=phone``, or what the function says.

    Exactly one of `columns` and `function` (`package.module:function`, called with the rows, gives a label for each;
    an empty label leaves the row out). Raises ``ConfigurationError`` for an unknown column, and for a function that
    does not give a label per row.
    """
    if bool(columns) == (function is not None):
        raise ConfigurationError(f"{where}: give exactly one of columns and function")
    if function is None:
        require_columns(columns, sorted(rows.columns), where)
        values = zip(*(rows.columns[name] for name in columns), strict=True)
        return [JOIN.join(f"{name}={v}" for name, v in zip(columns, row, strict=True)) for row in values]
    labels = [str(label) for label in load_function(function, where)(rows)]
    if len(labels) != len(rows.ids):
        raise ConfigurationError(f"{where}: {function} gave {len(labels)} labels, expected {len(rows.ids)}")
    return labels


def take_rows(rows: RowOutputs, chosen: np.ndarray[Any, Any]) -> RowOutputs:
    """The rows at a boolean mask (N,) or at indices, in that order."""
    places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
    return dataclasses.replace(
        rows,
        ids=[rows.ids[int(i)] for i in places],
        y=rows.y[places],
        output=rows.output[places],
        columns={name: [values[int(i)] for i in places] for name, values in rows.columns.items()},
    )


def group_rows(rows: RowOutputs, labels: Sequence[str]) -> dict[str, RowOutputs]:
    """Label -> its rows, by label; an empty label belongs to no slice."""
    array = np.asarray(labels, dtype=object)
    return {label: take_rows(rows, array == label) for label in sorted(set(labels)) if label}
