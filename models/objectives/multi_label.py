"""Any number of labels per row.

Shape legend: B rows of a batch, N rows, C labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from mlratchet.models.metrics import families
from mlratchet.models.metrics.base import Metric
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.answers import multi_label as said_of
from mlratchet.models.objectives.base import Array, Loss, Objective
from mlratchet.models.objectives.logged import LoggedLabels
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch


class MultiLabel(Objective):
    """Logits (B, C) against 0 and 1 (B, C)."""

    name = "multi_label"
    linear_model = "labels"
    class_loss = "bce"
    badness_unit = "nats"
    logged = LoggedLabels()

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Binary cross entropy."""
        return self.named_losses(weight=None, label_smoothing=label_smoothing)[self.class_loss](output, target)

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:
        """`bce`, which takes the weights of rows that have a label."""
        from mlratchet.models.objectives.losses.multi_label import binary_cross_entropy

        return {self.class_loss: partial(binary_cross_entropy, weight=weight, label_smoothing=label_smoothing)}

    def balanced_weights(self, y: Array, count: int) -> Array:  # noqa: ARG002 - y has a column per label
        """Rows without the label / rows with it."""
        from mlratchet.models.objectives.losses.multi_label import balanced

        return balanced(y)

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:
        """Subset accuracy, Hamming loss, probabilities, precision, recall, F1, areas under curves."""
        return families.of_labels(class_names)

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:
        """`labels`, `probabilities`."""
        return said_of.with_probabilities(output, class_names)

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:
        """As `answers`."""
        return said_of.schema(class_names)

    def refusal(self, target: Target, class_names: tuple[str, ...]) -> str:
        """0 or 1 per label is needed."""
        return said_of.refusal(target, class_names)

    def explained(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Log-likelihood of the labels."""
        from torch.nn.functional import logsigmoid

        return logsigmoid(output * (2 * target.float() - 1)).sum(dim=1)

    def wanted(self, y: Array, class_names: tuple[str, ...]) -> list[str]:
        """The labels that a row has."""
        return said_of.names_of(y > 0, class_names)

    def said(self, rows: RowOutputs, class_names: tuple[str, ...]) -> list[str]:
        """The labels that are said to be there."""
        return said_of.names_of(rows.output > 0, class_names)

    def badness(self, rows: RowOutputs) -> Array:
        """Negative log-likelihood of the labels, mean over them."""
        return said_of.nats(rows)

    def differ(self, a: RowOutputs, b: RowOutputs) -> Array:
        """Other labels."""
        return np.asarray(((a.output > 0) != (b.output > 0)).any(axis=1))

    def pictures(self, rows: RowOutputs, class_names: tuple[str, ...]) -> dict[str, bytes]:
        """Shares, recall and precision per label; ROC and precision-recall curves."""
        from mlratchet.models.objectives.pictures import multi_label as drawn

        return {"labels.png": drawn.labels(rows, class_names), "curves.png": drawn.label_curves(rows, class_names)}

    def comparison_pictures(self, a: RowOutputs, b: RowOutputs) -> dict[str, bytes]:  # noqa: ARG002
        """None yet."""
        return {}
