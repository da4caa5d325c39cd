"""Configuration of the deployed model."""

from __future__ import annotations

from pydantic import Field

from mlratchet.models.pipeline.strict import StrictModel


class ServingConfig(StrictModel):
    """How the champion is served."""

    max_batch_rows: int = Field(default=64, ge=1, le=65536)
    """Rows answered by one forward."""
    max_wait_milliseconds: float = Field(default=2.0, ge=0, le=1000)
    """How long a batch may wait for more rows while another is being computed."""
    max_request_bytes: int = Field(default=8_000_000, ge=1024)
    threads: int = Field(default=1, ge=1, le=256)
    """Intra-op threads of the forward."""
    poll_seconds: float = Field(default=1.0, gt=0, le=3600)
    """How often the ledger is asked for a new champion."""
