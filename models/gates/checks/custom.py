"""`custom`: a function of the user's judges the evidence."""

from __future__ import annotations

from typing import Any, Literal

from mlratchet.models.pipeline.functions import REFERENCE
from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field


class CustomCheck(StrictModel):
    """`function(evidence, **parameters)` gives a mapping with value, verdict and reason."""

    kind: Literal["custom"]
    function: str = Field(pattern=REFERENCE)
    """`package.module:function`."""
    parameters: dict[str, Any] = Field(default_factory=dict)
