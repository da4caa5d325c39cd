"""What the checks share: settings of a statistic, the case that is judged, and the result."""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from pydantic import Field, model_validator

LEAST_TAIL = 10  # resamples that must lie beyond a bound, else a percentile is a guess


class Statistical(StrictModel):
    """A check that computes an interval."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of a one-sided bound; of the two-sided interval in `absolute` and `calibration`."""
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    """Of a bootstrap."""
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _enough_resamples(self) -> Statistical:
        needed = LEAST_TAIL / (1 - self.confidence)
        if self.resamples < needed * (1 - 1e-9):
            raise ValueError(
                f"a bound at confidence {self.confidence:g} needs resamples >= {needed:.0f}, got {self.resamples}"
            )
        return self


class Bounded(StrictModel):
    """Exactly one of `minimum` and `maximum`: no default direction."""

    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> Bounded:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give exactly one of minimum and maximum")
        return self
