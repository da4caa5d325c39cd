"""`budget`: what the training cost."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field, model_validator


class BudgetCheck(StrictModel):
    """The cost of the training. Exactly one bound."""

    kind: Literal["budget"]
    maximum_seconds: float | None = Field(default=None, gt=0)
    """Wall time of the training, all attempts."""
    maximum_core_seconds: float | None = Field(default=None, gt=0)
    maximum_gpu_seconds: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_bound(self) -> BudgetCheck:
        bounds = (self.maximum_seconds, self.maximum_core_seconds, self.maximum_gpu_seconds)
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError("give exactly one of maximum_seconds, maximum_core_seconds and maximum_gpu_seconds")
        return self
