"""What each field of an example adds: its part of the prepared tensors is set to what the model takes for nothing (the
mean of a number, the unknown category, an empty text), and the model is asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from mlratchet.models.preparation.base import Feature
from mlratchet.models.tensors.named import Column, Inputs, Ragged
from mlratchet.models.workloads.examples import Preparer


def features_of(preparer: Preparer) -> dict[str, list[Feature]]:
    """By the field that they were made of."""
    found: dict[str, list[Feature]] = {name: [] for name in preparer.schema.inputs}
    for feature in preparer.plan.features(preparer.state):
        if feature.field in found:
            found[feature.field].append(feature)
    return found


def without_fields(row: Inputs, features: Mapping[str, list[Feature]]) -> dict[str, Inputs]:
    """The row, each time without one field; of a field that no tensor holds, nothing."""
    return {name: without(row, held) for name, held in features.items() if held}


def without(row: Inputs, features: Iterable[Feature]) -> Inputs:
    """The row without some features."""
    columns: dict[str, Column] = dict(row.columns)
    for feature in features:
        columns[feature.tensor] = _blanked(columns[feature.tensor], feature.column)
    return Inputs(columns)


def _blanked(column: Column, at: int | None) -> Column:
    if isinstance(column, Ragged):
        return Ragged(np.zeros_like(column.values), column.offsets)
    if at is None:
        return np.zeros_like(column)
    changed = column.copy()
    changed[:, at] = 0
    return changed
