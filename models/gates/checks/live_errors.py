"""`live_errors`: how many requests the candidate left without an answer, beside the champion in the same time."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.evaluation.statistics.rates import rate_bounds, rate_difference
from mlratchet.models.gates.checks.live import LiveCheck, share
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.result import CheckResult
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
        """Both shares are of the same time: what is wrong with the server or its clients is in either. In the shadow
        every request was answered by the champion, so that a failure there is the candidate's alone."""
        ours, theirs, shadow = live.failed, live.champion_failed, live.shadow_failed
        in_shadow = self.against(
            shadow,
            rate_bounds(*shadow.pair, (1 + self.confidence) / 2),
            share(shadow),
            self.margin,
            f"failed {shadow.yes} of {shadow.n} in the shadow: share",
        )
        beside = self.against(
            ours,
            rate_difference(ours.pair, theirs.pair, (1 + self.confidence) / 2),
            share(ours) - share(theirs),
            self.margin,
            f"failed {ours.yes} of {ours.n}, the champion {theirs.yes} of {theirs.n}: difference",
        )
        if in_shadow.verdict == "fail":
            return in_shadow
        if ours.n or not live.shadowed:
            return beside
        return in_shadow if not live.minimum_requests else beside
