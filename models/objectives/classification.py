"""One class per row.

Shape legend: B rows of a batch, N rows, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics import families
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.answers import classification as said_of
from mlratchet.models.objectives.base import Array, Loss, Objective
from mlratchet.models.objectives.logged import LoggedClasses
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch


class Classification(Objective):
    """Logits (B, C) against class indices (B,)."""

    name = "classification"
    linear_model = "classes"
    class_loss = "cross_entropy"
    has_accuracy = True
    badness_unit = "nats"
    logged = LoggedClasses()

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Cross entropy."""
        return self.named_losses(weight=None, label_smoothing=label_smoothing)[self.class_loss](output, target)

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:
        """`cross_entropy`, which takes class weights."""
        from mlratchet.models.objectives.losses.classification import cross_entropy

        return {self.class_loss: partial(cross_entropy, weight=weight, label_smoothing=label_smoothing)}

    def balanced_weights(self, y: Array, count: int) -> Array:
        """Rows / (classes x rows of the class)."""
        from mlratchet.models.objectives.losses.classification import balanced

        return balanced(y, count)

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """Accuracy, probabilities, precision, recall, F1, areas under curves."""
        return families.of_classes(class_names)

    def metrics_over(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """As `metrics`, with the names that they have over many classes."""
        return families.of_some_classes(class_names)

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """`class`, `probability`, `probabilities`."""
        return said_of.with_probabilities(output, class_names)

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """As `answers`."""
        return said_of.schema(class_names)

    def refusal(self, target: Target, class_names: tuple[str, ...]) -> str:
        """A class index is needed."""
        return said_of.refusal(target, len(class_names))

    def correct(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Rows whose most probable class is the label."""
        return (output.argmax(dim=1) == target).sum()

    def explained(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of the label."""
        return output.log_softmax(dim=1).gather(1, target.long().reshape(-1, 1))[:, 0]

    def wanted(self, y: Array, class_names: tuple[str, ...]) -> list[str]:
        """Names of classes."""
        return said_of.names_of(y, class_names)

    def said(self, rows: RowOutputs, class_names: tuple[str, ...]) -> list[str]:
        """The most probable class."""
        return said_of.names_of(rows.output.argmax(axis=1), class_names)

    def badness(self, rows: RowOutputs) -> Array:
        """Negative log-likelihood of the label."""
        return said_of.nats(rows)

    def differ(self, a: RowOutputs, b: RowOutputs) -> Array:
        """Another most probable class."""
        return np.asarray(a.output.argmax(axis=1) != b.output.argmax(axis=1))

    def pictures(self, rows: RowOutputs, class_names: tuple[str, ...]) -> dict[str, bytes]:
        """Confusions, ROC and precision-recall curves, calibration."""
        from mlratchet.models.objectives.pictures import classification as drawn

        return {
            "confusion_matrix.png": drawn.confusion_matrix(rows, class_names),
            "curves.png": drawn.class_curves(rows, class_names),
            "reliability.png": drawn.reliability(rows),
        }

    def comparison_pictures(self, a: RowOutputs, b: RowOutputs) -> dict[str, bytes]:
        """Calibration of both."""
        from mlratchet.models.objectives.pictures import classification as drawn

        return {"Calibration": drawn.reliability_of_both(a, b)}
