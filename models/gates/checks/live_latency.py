"""`live_latency`: how long the candidate took to answer real requests."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.statistics.rates import rate_bounds
from mlratchet.models.gates.checks.live import LiveCheck, share
from mlratchet.models.gates.live import NOTHING, LiveEvidence, number_key
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field

ALLOWED = {"p50": 0.5, "p95": 0.05, "p99": 0.01}  # share of requests that may take longer


class LiveLatencyCheck(LiveCheck):
    """A quantile of the time of one request of the candidate's, as the server measured it, in its canary."""

    kind: Literal["live_latency"]
    quantile: Literal["p50", "p95", "p99"] = "p95"
    maximum_milliseconds: float = Field(gt=0)

    @property
    def threshold(self) -> str:
        """What is asked, in words."""
        return f"{self.quantile} <= {self.maximum_milliseconds:g} ms"

    def judge_live(self, live: LiveEvidence) -> CheckResult:
        """A quantile is within the maximum when no more requests than it leaves out took longer."""
        slow = live.slow.get(number_key(self.maximum_milliseconds), NOTHING)
        if not slow.n:
            return unknown(self.kind, self.kind, self.threshold, "no answer of the candidate was timed")
        words = f"longer than {self.maximum_milliseconds:g} ms {slow.yes} of {slow.n}: share"
        bounds = rate_bounds(*slow.pair, self.confidence)
        return self.against(slow, bounds, share(slow), ALLOWED[self.quantile], words)
