"""`live_errors`: how many requests the candidate left without an answer, beside the champion in the same time."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.statistics.rates import rate_difference
from mlratchet.models.gates.checks.live import LiveCheck, share
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field


class LiveErrorsCheck(LiveCheck):
    """The candidate's share of failed requests less the champion's, in its canary."""

    kind: Literal["live_errors"]
    margin: float = Field(default=0.02, gt=0, lt=1)
    """By how much the candidate's share may exceed the champion's."""

    @property
    def threshold(self) -> str:
        """What is asked, in words."""
        return f"champion's + <= {self.margin:g}"

    def judge_live(self, live: LiveEvidence) -> CheckResult:
        """Both shares are of the same time: what is wrong with the server or its clients is in either."""
        ours, theirs = live.failed, live.champion_failed
        if not ours.n or not theirs.n:
            who = "candidate" if not ours.n else "champion"
            return unknown(self.kind, self.kind, self.threshold, f"the {who} was given no request")
        bounds = rate_difference(ours.pair, theirs.pair, self.confidence)
        words = f"failed {ours.yes} of {ours.n}, the champion {theirs.yes} of {theirs.n}: difference"
        return self.against(ours, bounds, share(ours) - share(theirs), self.margin, words)
