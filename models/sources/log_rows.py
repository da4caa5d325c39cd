"""`source.inference_log`: rows that clients sent and that were labelled since, beside what is delivered."""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from pydantic import Field


class LoggedRows(StrictModel):
    """Which rows of the inference log are trained on."""

    days: float = Field(default=30.0, gt=0, le=3650)
    """Requests of so long ago are left out."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of the labelled rows, the part that is taken: by a hash of the request's id, so that a row is in or out for
    good."""
    most_rows: int = Field(default=100_000, ge=1, le=10_000_000)
    """The newest of those."""
