"""`fairness`: the largest gap of a metric between groups of rows."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Statistical
from pydantic import Field


class FairnessCheck(Statistical):
    """The best and the worst group differ by at most `maximum_gap`."""

    kind: Literal["fairness"]
    metric: str
    by: tuple[str, ...] = Field(min_length=1, strict=False)
    """Columns; a group is every combination of their values that occurs."""
    maximum_gap: float = Field(gt=0)
    """In the metric's unit."""
    compare: Literal["estimate", "interval"] = "estimate"
    """`interval`: the upper bound of the gap must hold."""
    minimum_rows: int = Field(default=30, ge=2)
    """A group with fewer is inconclusive."""
