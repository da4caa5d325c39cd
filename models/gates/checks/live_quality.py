"""`live_quality`: how often the candidate is right on the requests of its canary, as far as labels came."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.statistics.rates import rate_difference
from mlratchet.models.gates.checks.live import LiveCheck, share
from mlratchet.models.gates.live import NOTHING, LiveEvidence, number_key
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field


class LiveQualityCheck(LiveCheck):
    """The champion's share of right answers less the candidate's, each on the labelled requests that it was given.

    Which of the two a request is given to is a hash of its key, so that labels that come by themselves are as biased
    for the one as for the other. What is replayed never counts.
    """

    kind: Literal["live_quality"]
    margin: float = Field(gt=0, lt=1)
    """By how much the candidate's share may be lower."""
    tolerance: float = Field(default=0.0, ge=0)
    """Within which a number is right, in the unit of the label; labels are right or not."""
    minimum_labels: int = Field(default=50, ge=1)
    """Labelled requests of the candidate's below which it does not pass."""

    @property
    def threshold(self) -> str:
        """What is asked, in words."""
        return f"champion's - <= {self.margin:g}"

    def judge_live(self, live: LiveEvidence) -> CheckResult:
        """Two shares of different requests of the same time."""
        key = number_key(self.tolerance)
        ours, theirs = live.right.get(key, NOTHING), live.champion_right.get(key, NOTHING)
        if not ours.n or not theirs.n:
            who = "candidate" if not ours.n else "champion"
            return unknown(self.kind, self.kind, self.threshold, f"no label came for a request of the {who}")
        bounds = rate_difference(theirs.pair, ours.pair, self.confidence)
        words = f"right {ours.yes} of {ours.n}, the champion {theirs.yes} of {theirs.n}: loss"
        found = self.against(ours, bounds, share(theirs) - share(ours), self.margin, words)
        if found.verdict == "pass" and ours.n < self.minimum_labels:
            why = f"{ours.n} labels, minimum {self.minimum_labels}; so far {found.reason}"
            return unknown(self.kind, self.kind, self.threshold, why, ours.n)
        return found
