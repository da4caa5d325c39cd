"""What the checks of a canary share: they read live evidence, and may be looked at as often as one likes."""

from __future__ import annotations

from abc import abstractmethod

from mlratchet.models.evaluation.statistics.interval import Interval
from mlratchet.models.gates.checks.base import Check
from mlratchet.models.gates.checks.case import NO_CHAMPION, Case
from mlratchet.models.gates.live import LiveEvidence, Tally
from mlratchet.models.gates.result import CheckResult, not_applicable, unknown
from pydantic import Field


class LiveCheck(Check):
    """The upper end of a rate's confidence sequence must hold a bound; the lower end beyond it fails, at once."""

    gates = ("champion",)
    wears = False

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of both ends together, at every moment at once."""

    @property
    def compares(self) -> bool:
        """Without a champion there is no canary."""
        return True

    @property
    @abstractmethod
    def threshold(self) -> str:
        """What is asked, in words."""

    @abstractmethod
    def judge_live(self, live: LiveEvidence) -> CheckResult:
        """The verdict on what was seen so far, whatever the minimum of requests."""

    def judge(self, case: Case) -> CheckResult:
        """What was seen decides against it at any number of requests, and for it at the minimum of them."""
        live, kind = case.evidence.canary, self.kind
        if case.first_model:
            return not_applicable(kind, kind, self.threshold, NO_CHAMPION)
        if live is None:
            return unknown(kind, kind, self.threshold, "there was no canary; declare serving.canary")
        if live.version != case.evidence.version:
            why = f"the canary was of version {live.version}, expected version {case.evidence.version}"
            return unknown(kind, kind, self.threshold, why)
        if live.broken:
            return unknown(kind, kind, self.threshold, f"the inference log is no evidence: {live.broken}")
        if live.stopped:
            words = f"{kind}: {live.stopped}"
            return CheckResult(kind=kind, metric=kind, verdict="fail", reason=words, threshold=self.threshold)
        found = self.judge_live(live)
        if found.verdict == "pass" and live.requests < live.minimum_requests:
            why = f"{live.requests} live requests, minimum {live.minimum_requests}; so far {found.reason}"
            return unknown(kind, kind, self.threshold, why, live.requests)
        return found

    def against(self, tally: Tally, bounds: Interval, value: float, most: float, words: str) -> CheckResult:
        """The verdict on a rate, or a difference of two, of which at most `most` is allowed."""
        verdict = "pass" if bounds.high <= most else "fail" if bounds.low > most else "inconclusive"
        span = f"{100 * self.confidence:.4g} % sequence [{bounds.low:.4f}, {bounds.high:.4f}]"
        relation = {"pass": "<=", "fail": ">", "inconclusive": "not yet surely <="}[verdict]
        return CheckResult(
            kind=self.kind,
            metric=self.kind,
            verdict=verdict,  # type: ignore[arg-type]  # one of the three words above
            reason=f"{words} {value:.4f} {relation} {most:g} ({span})",
            threshold=self.threshold,
            value=value,
            interval=(bounds.low, bounds.high),
            interval_level=self.confidence,
            n=tally.n,
            method=bounds.method,
        )


def share(tally: Tally) -> float:
    """Of the yes among all; 0 of nothing."""
    return tally.yes / tally.n if tally.n else 0.0
