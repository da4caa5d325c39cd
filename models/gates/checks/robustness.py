"""`robustness`: how much a metric drops when the input is perturbed in a declared way."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.perturb import PerturbationSpec
from mlratchet.models.gates.checks.base import Statistical
from pydantic import Field


class RobustnessCheck(Statistical):
    """The candidate on perturbed rows against itself on the rows as they are (paired)."""

    kind: Literal["robustness"]
    perturbation: PerturbationSpec
    metric: str
    maximum_drop: float = Field(gt=0)
    """In the metric's unit, in the direction that is worse."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the drop must hold."""
