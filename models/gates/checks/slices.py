"""`slice`: the metric holds on every slice of the rows, with Holm's correction over the slices."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.gates.checks.base import Statistical
from mlratchet.models.pipeline.functions import REFERENCE
from pydantic import Field, model_validator


class SliceCheck(Statistical):
    """On every slice: the metric within a bound, or at most `margin` worse than the champion."""

    kind: Literal["slice"]
    metric: str
    by: tuple[str, ...] = Field(default=(), strict=False)
    """Columns; a slice is every combination of their values that occurs, e.g. `region=eu, device=phone`."""
    function: str | None = Field(default=None, pattern=REFERENCE)
    """Instead of `by`: `package.module:function`, called with the rows, gives a label per row ("" leaves it out)."""
    slices: tuple[str, ...] = Field(default=(), strict=False)
    """Only these labels; one without rows never passes. Empty: every slice that occurs."""
    minimum: float | None = None
    maximum: float | None = None
    margin: float | None = Field(default=None, gt=0)
    """Against the champion on the same rows of the slice."""
    compare: Literal["estimate", "interval"] = "interval"
    minimum_rows: int = Field(default=30, ge=2)
    """A slice with fewer is inconclusive."""

    @model_validator(mode="after")
    def _one_bound_one_source(self) -> SliceCheck:
        if sum(bound is not None for bound in (self.minimum, self.maximum, self.margin)) != 1:
            raise ValueError("give exactly one of minimum, maximum and margin")
        if bool(self.by) == (self.function is not None):
            raise ValueError("give exactly one of by (columns) and function")
        for name, given in (("by", self.by), ("slices", self.slices)):
            if len(set(given)) != len(given):
                raise ValueError(f"{name}: every name once, got {', '.join(given)}")
        return self
