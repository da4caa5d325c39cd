"""A loaded version: rows in, predictions out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mlratchet.models.artifact.signature import Signature

Array = np.ndarray[Any, Any]
NUMBER = {"regression": "value", "ranking": "score"}  # tasks whose prediction is one number
LIKELY = 0.5  # probability above which a label is said to be there


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictor:
    """One version of one model. Called from one thread at a time."""

    version: int
    generation: int
    signature: Signature
    model: Callable[[torch.Tensor], torch.Tensor]

    def predict(self, rows: Array) -> list[dict[str, Any]]:
        """A prediction per row: class or labels with probabilities, a value, or a score.

        Raises ``ValueError`` for non-finite outputs.
        """
        with torch.inference_mode():
            output = self.model(torch.from_numpy(rows)).float()
            if not bool(torch.isfinite(output).all()):
                raise ValueError(f"version {self.version} answered NaN or infinity")
            return predictions_of(output, self.signature)

    def warm_up(self) -> None:
        """One forward of one row and one of two, so that the first client does not wait."""
        for count in (1, 2):
            self.predict(np.zeros((count, *self.signature.input.shape), dtype=self.signature.input.dtype))


def predictions_of(output: torch.Tensor, signature: Signature) -> list[dict[str, Any]]:
    """What a client reads of the model's outputs, (N, C) logits or (N,) values: an object per row."""
    if signature.task in NUMBER:
        return [{NUMBER[signature.task]: value} for value in output.reshape(len(output)).tolist()]
    names = signature.classes
    if signature.task == "multi_label":
        by_label = [dict(zip(names, row, strict=True)) for row in output.sigmoid().tolist()]
        return [{"labels": [n for n, p in row.items() if p > LIKELY], "probabilities": row} for row in by_label]
    probabilities = output.softmax(dim=1)
    best = probabilities.argmax(dim=1).tolist()
    return [
        {
            "class": names[index],
            "probability": row[index],
            "probabilities": dict(zip(names, row, strict=True)),
        }
        for index, row in zip(best, probabilities.tolist(), strict=True)
    ]
