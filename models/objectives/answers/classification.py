"""What the logits of one class per row say.

Shape legend: B rows of a batch, N rows, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics.probability import log_probabilities
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]


def with_probabilities(output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Per row the most probable class, its probability, and that of every class."""
    probabilities = output.softmax(dim=1)
    best = probabilities.argmax(dim=1).tolist()
    return [
        {
            "class": class_names[index],
            "probability": row[index],
            "probabilities": dict(zip(class_names, row, strict=True)),
        }
        for index, row in zip(best, probabilities.tolist(), strict=True)
    ]


def schema(class_names: tuple[str, ...]) -> dict[str, Any]:
    """Of `with_probabilities`."""
    number = {"type": "number"}
    return {
        "class": {"type": "string", "enum": list(class_names)},
        "probability": number,
        "probabilities": {"type": "object", "properties": dict.fromkeys(class_names, number)},
    }


def names_of(indices: Array, class_names: tuple[str, ...]) -> list[str]:
    """(N,) class indices as names."""
    return [class_names[int(index)] for index in indices]


def nats(rows: RowOutputs) -> Array:
    """(N,) negative log-likelihood of the label."""
    return np.asarray(-log_probabilities(rows.output)[np.arange(len(rows.y)), rows.y.astype(np.int64)])


def refusal(target: Target, count: int) -> str:
    """Why it is not the index of one of `count` classes; empty when it is."""
    fits = isinstance(target, int) and 0 <= target < count
    return "" if fits else f"got {target!r}, expected the index of a class from 0 to {count - 1}"
