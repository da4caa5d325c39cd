"""What is measured of a candidate beyond what the gates need."""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from pydantic import Field


class EvaluationConfig(StrictModel):
    """Attributions: which inputs the outputs come from. An `attribution` check switches them on by itself."""

    attributions: bool = False
    """Computed, compared with the champion's and drawn even when no check asks for them."""
    attribution_rows: int = Field(default=64, ge=8, le=4096)
    """Test rows that are explained, drawn by seed."""
    attribution_steps: int = Field(default=16, ge=4, le=512)
    """Points on the path of Integrated Gradients."""
    seed: int = Field(default=0, ge=0, lt=2**32)
