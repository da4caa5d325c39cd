"""`absolute` and `calibration`: a metric of the candidate against a fixed bound."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Bounded, Statistical


class AbsoluteCheck(Bounded, Statistical):
    """A metric of the candidate against a fixed bound. Exactly one of `minimum` and `maximum`."""

    kind: Literal["absolute"]
    metric: str
    compare: Literal["estimate", "interval"] = "estimate"  # not `on`, which YAML reads as true
    """`interval`: the worse end of the confidence interval must hold the bound."""


class CalibrationCheck(Statistical):
    """How well the candidate's probabilities fit what happens; all measures are better when lower."""

    kind: Literal["calibration"]
    measure: Literal["ece", "brier", "log_loss"]
    maximum: float
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper end of the confidence interval must hold the bound."""
