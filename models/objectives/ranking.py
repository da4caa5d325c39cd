"""Rows of a query against each other.

Shape legend: B rows of a batch, N rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlratchet.models.metrics import families
from mlratchet.models.metrics.base import Metric, take
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.objectives.answers import ranking as said_of
from mlratchet.models.objectives.answers.regression import numbers
from mlratchet.models.objectives.base import Array, Loss, Objective
from mlratchet.models.sources.record import Target

if TYPE_CHECKING:
    import torch


class Ranking(Objective):
    """Scores (B,) or (B, 1), higher first, against (B, 2): relevance, number of the query."""

    name = "ranking"
    linear_model = "number"
    by_query = True
    badness_unit = "lost gain"

    def loss(self, output: torch.Tensor, target: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:  # noqa: ARG002
        """ListNet's."""
        from mlratchet.models.objectives.losses.ranking import listwise

        return listwise(output, target)

    def named_losses(self, *, weight: torch.Tensor | None, label_smoothing: float) -> Mapping[str, Loss]:  # noqa: ARG002
        """`listwise`, `pairwise`."""
        from mlratchet.models.objectives.losses.ranking import listwise, pairwise

        return {"listwise": listwise, "pairwise": pairwise}

    def metrics(self, class_names: tuple[str, ...]) -> Sequence[Metric]:  # noqa: ARG002 - there are none
        """NDCG and recall of the first places."""
        return families.of_rankings()

    def answers(self, output: torch.Tensor, class_names: tuple[str, ...]) -> list[dict[str, Any]]:  # noqa: ARG002
        """`score`."""
        return numbers(output, "score")

    def answer_schema(self, class_names: tuple[str, ...]) -> dict[str, Any]:  # noqa: ARG002
        """As `answers`."""
        return {"score": {"type": "number"}}

    def refusal(self, target: Target, class_names: tuple[str, ...]) -> str:
        """A relevance is not negative."""
        problem = super().refusal(target, class_names)
        if problem or isinstance(target, tuple) or target >= 0:
            return problem
        return f"got {target:g}, expected a relevance of 0 or more"

    def said(self, rows: RowOutputs, class_names: tuple[str, ...]) -> list[str]:  # noqa: ARG002
        """The place in the query."""
        return said_of.place_texts(rows, len(rows.ids))

    def samples(self, rows: RowOutputs, class_names: tuple[str, ...], count: int = 8) -> list[list[str]]:
        """Places among all rows of the query, not among the first ones alone."""
        first = take(rows, slice(0, count))
        texts = said_of.place_texts(rows, count)
        return [list(one) for one in zip(first.ids, self.wanted(first.y, class_names), texts, strict=True)]

    def badness(self, rows: RowOutputs) -> Array:
        """The gain that the row's place loses."""
        return said_of.lost_gain(rows)

    def pictures(self, rows: RowOutputs, class_names: tuple[str, ...]) -> dict[str, bytes]:  # noqa: ARG002
        """Scores by relevance."""
        from mlratchet.models.objectives.pictures import ranking as drawn

        return {"relevance.png": drawn.relevance(rows)}

    def comparison_pictures(self, a: RowOutputs, b: RowOutputs) -> dict[str, bytes]:  # noqa: ARG002
        """None yet."""
        return {}
