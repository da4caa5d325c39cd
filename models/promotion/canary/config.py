"""`serving.canary` of a pipeline file: what a candidate has to stand on real requests before the champion gate."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.gates.checks.live import LiveCheck
from mlratchet.models.gates.checks.live_disagreement import LiveDisagreementCheck
from mlratchet.models.gates.checks.live_quality import LiveQualityCheck
from mlratchet.models.gates.policy import GatePolicy
from pydantic import Field, field_validator, model_validator

MOST_HOURS = 336.0  # two weeks: no record lets a server load a candidate for longer


class CanaryConfig(StrictModel):
    """A version that passed staging answers in the champion's shadow first, then a growing share of the clients."""

    shadow_requests: int = Field(default=200, ge=0, le=1_000_000)
    """Requests of which the candidate computes an answer that nobody gets; 0: no shadow."""
    steps: tuple[float, ...] = Field(default=(0.05, 0.25), min_length=1, max_length=20, strict=False)
    """Shares of the clients, one after the other; each ends with its part of `minimum_requests`."""
    minimum_requests: int = Field(default=500, ge=0, le=10_000_000)
    """That clients sent and the candidate was given; fewer at the end are inconclusive."""
    maximum_hours: float = Field(default=2.0, gt=0, le=MOST_HOURS)
    """Of shadow and steps together. What is not decided by then is inconclusive."""
    on_no_traffic: Literal["replay", "hold"] = "hold"
    """`replay`: recorded requests are sent where clients send none; they count for the shadow, errors, latency and
    disagreement, never for live_quality or `minimum_requests`. `hold`: it waits, and is inconclusive at the end."""

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: tuple[float, ...]) -> tuple[float, ...]:
        before = 0.0
        for share in steps:
            if not before < share < 1:
                raise ValueError(f"got {list(steps)}, expected ascending shares above 0 and below 1")
            before = share
        return steps

    @model_validator(mode="after")
    def _is_about_something(self) -> CanaryConfig:
        if self.minimum_requests == 0 and self.on_no_traffic == "hold":
            raise ValueError(
                "minimum_requests: 0 watches nothing; give it at least 1, or on_no_traffic: replay, which judges "
                "replayed requests alone"
            )
        return self

    @property
    def maximum_s(self) -> float:
        """Seconds from the first record to the end."""
        return 3600 * self.maximum_hours

    def asked_by(self, step: int) -> int:
        """Live requests that the candidate must have been given when step `step`, the first is 0, ends."""
        return -(-self.minimum_requests * (step + 1) // len(self.steps))


def live_checks(gates: GatePolicy) -> tuple[LiveCheck, ...]:
    """Of the champion gate, those of the shared policy first."""
    return tuple(check for check in gates.checks("champion") if isinstance(check, LiveCheck))


def canary_problems(canary: CanaryConfig | None, gates: GatePolicy, *, logged: bool) -> list[str]:
    """What could never be judged, a line each. `logged`: requests are written down."""
    checks = live_checks(gates)
    if canary is None:
        return [
            f"gates.champion: a {check.kind} check has no evidence without a canary; declare serving.canary"
            for check in checks
        ]
    if not checks:
        words = "add live_errors, live_latency, live_disagreement or live_quality"
        return [f"serving.canary: gates.champion has no check that reads it; {words}"]
    problems = []
    if not logged:
        problems.append("serving.canary: serving.log.enabled is false, and a canary is judged by the inference log")
    if not canary.shadow_requests and any(isinstance(check, LiveDisagreementCheck) for check in checks):
        problems.append("serving.canary: shadow_requests: 0, but live_disagreement compares answers in the shadow")
    if not canary.minimum_requests and any(isinstance(check, LiveQualityCheck) for check in checks):
        problems.append("serving.canary: minimum_requests: 0, but live_quality counts live requests alone")
    return problems
