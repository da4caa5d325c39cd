"""One number per row.

Shape legend: B rows of a batch, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlratchet.models.metrics import families
from mlratchet.models.metrics.base import Metric
from mlratchet.models.objectives.answers import regression as said_of
from mlratchet.models.objectives.base import Loss, Objective

if TYPE_CHECKING:
    import torch


class Regression(Objective):
    """Numbers (B,) or (B, 1) against numbers (B,)."""

    name = "regression"
    linear_model = "number"
    target_on_a_scale = True

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:  # noqa: ARG002
        """Mean squared error."""
        from mlratchet.models.objectives.losses.regression import mse

        return mse(output, target)

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:  # noqa: ARG002
        """`mse`, `mae`, `huber`."""
        from mlratchet.models.objectives.losses import regression as losses

        return {"mse": losses.mse, "mae": losses.mae, "huber": losses.huber}

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:  # noqa: ARG002 - there are none
        """Squared and absolute errors, and the share of variance."""
        return families.of_numbers()

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:  # noqa: ARG002
        """`value`."""
        return said_of.numbers(output, "value")

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002
        """As `answers`."""
        return {"value": {"type": "number"}}
