"""`attribution`: the model looks at what the champion looked at."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field


class AttributionCheck(StrictModel):
    """How far the importance of the inputs moved from the champion's."""

    kind: Literal["attribution"]
    maximum_shift: float = Field(gt=0, le=1)
    """0: the same importance everywhere; 1: nothing in common."""
