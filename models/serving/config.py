"""Configuration of the deployed model."""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from pydantic import Field


class ServingConfig(StrictModel):
    """How the champion is served."""

    max_batch_rows: int = Field(default=64, ge=1, le=65536)
    """Rows answered by one forward."""
    max_request_bytes: int = Field(default=8_000_000, ge=1024)
    threads: int = Field(default=1, ge=1, le=256)
    """Intra-op threads of the forward."""
    defaults: dict[str, float] = Field(default_factory=dict)
    """Column of a table -> its value in a request that lacks it, for clients that do not know a new column yet."""
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How often the ledger is asked for a new champion."""
