"""Whether targets and outputs are what the task says: what is none of its classes holds a model, and judges nothing.

Shape legend: N rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.naming import objective_of

MOST_ASKED = 1_000  # different targets that the objective is asked about, the smallest and the largest among them


def unreadable(rows: RowOutputs, task: str, class_names: tuple[str, ...]) -> str:
    """Why the outputs or a target cannot be read as those of the task; empty when they can."""
    objective, output = objective_of(task), rows.output
    shapes = objective.output_shapes(class_names)
    if tuple(output.shape[1:]) not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in sorted(shapes))
        return f"the outputs have shape {list(output.shape[1:])} per row, expected {wanted}"
    if len(output) != len(rows.ids) or len(rows.y) != len(rows.ids):
        return f"{len(rows.ids)} rows have {len(output)} outputs and {len(rows.y)} targets"
    different = np.unique(rows.y, axis=0)
    if len(different) > MOST_ASKED:
        different = different[[*range(MOST_ASKED - 1), -1]]
    for target in different:
        told = _nested(target) if np.ndim(target) else _number(float(target), names=class_names)
        why = objective.refusal(told, class_names)
        if why:
            return f"a target cannot be read: {why}"
    return ""


def _nested(target: np.ndarray[Any, Any]) -> Any:
    """As a record holds it."""
    return tuple(_nested(one) if np.ndim(one) else float(one) for one in target)


def _number(target: float, *, names: tuple[str, ...]) -> int | float:
    """A class is stored as a number of any type; one with a fraction is no class."""
    return int(target) if names and target.is_integer() else target
