"""`live_disagreement`: how often the candidate, in the champion's shadow, answers the same request unlike it."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.statistics.rates import rate_bounds
from mlratchet.models.gates.checks.live import LiveCheck, share
from mlratchet.models.gates.live import NOTHING, LiveEvidence, number_key
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field


class LiveDisagreementCheck(LiveCheck):
    """The share of shadowed requests that candidate and champion answer differently."""

    kind: Literal["live_disagreement"]
    maximum: float = Field(gt=0, lt=1)
    tolerance: float = Field(default=0.0, ge=0)
    """Between two numbers, in the unit of the answer; labels are the same or not."""

    @property
    def threshold(self) -> str:
        """What is asked, in words."""
        return f"<= {self.maximum:g}"

    def judge_live(self, live: LiveEvidence) -> CheckResult:
        """Of pairs: both answered the same request."""
        differs = live.differs.get(number_key(self.tolerance), NOTHING)
        if not differs.n:
            return unknown(self.kind, self.kind, self.threshold, "no request was answered by both")
        bounds = rate_bounds(*differs.pair, self.confidence)
        return self.against(
            differs, bounds, share(differs), self.maximum, f"answered unlike the champion {differs.yes} of {differs.n}:"
        )
