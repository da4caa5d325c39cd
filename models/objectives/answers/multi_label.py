"""What the logits of any number of labels per row say: a label is there where its probability is above one half.

Shape legend: B rows of a batch, N rows, C labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, Any]
LIKELY = 0.5  # probability above which a label is said to be there


def with_probabilities(output: torch.Tensor, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Per row the labels that are there, and the probability of each."""
    by_label = [dict(zip(names, row, strict=True)) for row in output.sigmoid().tolist()]
    return [{"labels": [n for n, p in row.items() if p > LIKELY], "probabilities": row} for row in by_label]


def schema(names: tuple[str, ...]) -> dict[str, Any]:
    """Of `with_probabilities`."""
    return {
        "labels": {"type": "array", "items": {"type": "string", "enum": list(names)}},
        "probabilities": {"type": "object", "properties": {name: {"type": "number"} for name in names}},
    }


def names_of(on_NC: Array, names: tuple[str, ...]) -> list[str]:
    """The labels that are on, a text per row."""
    return [", ".join(n for n, yes in zip(names, row, strict=True) if yes) or "none" for row in on_NC]


def nats(rows: RowOutputs) -> Array:
    """(N,) mean binary cross-entropy over the labels, stable: max(x, 0) - x y + log(1 + exp(-|x|))."""
    x, y = rows.output.astype(np.float64), rows.y.astype(np.float64)
    return np.asarray((np.maximum(x, 0) - x * y + np.log1p(np.exp(-np.abs(x)))).mean(axis=1))


def refusal(target: Target, names: tuple[str, ...]) -> str:
    """Why it is not 0 or 1 per label; empty when it is."""
    fits = isinstance(target, tuple) and len(target) == len(names) and set(target) <= {0, 1}
    return "" if fits else f"got {target!r}, expected 0 or 1 for each of {len(names)} labels"
