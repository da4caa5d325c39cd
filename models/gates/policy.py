"""Gate policy: the checks on each transition, as a pipeline file declares them.

A policy is validated whole before anything trains: no default direction, no unknown metric, no NaN
threshold, no empty gate, and a bound on the wrong side of a metric's direction is refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field, model_validator

GATES = ("data", "candidate", "staging", "champion")


class AbsoluteCheck(StrictModel):
    """A metric of the candidate against a fixed bound. Exactly one of `minimum` and `maximum`."""

    kind: Literal["absolute"]
    metric: str
    minimum: float | None = None
    maximum: float | None = None
    compare: Literal["estimate", "interval"] = "estimate"  # not `on`, which YAML reads as true
    """`interval`: the worse end of the confidence interval must hold the bound."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)

    @model_validator(mode="after")
    def _one_bound(self) -> AbsoluteCheck:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give exactly one of minimum and maximum")
        return self


class NonInferiorityCheck(StrictModel):
    """The candidate is at most `margin` worse than the champion, re-scored now on the same rows (paired)."""

    kind: Literal["non_inferiority"]
    metric: str
    margin: float = Field(gt=0)
    """In the metric's unit."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """One-sided."""
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    seed: int = Field(default=0, ge=0)


class SuperiorityCheck(StrictModel):
    """The candidate is better than the champion on the same rows (paired)."""

    kind: Literal["superiority"]
    metric: str
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    resamples: int = Field(default=10_000, ge=1000, le=1_000_000)
    seed: int = Field(default=0, ge=0)


class LatencyCheck(StrictModel):
    """Time of one forward of one row of the exported artifact, in a clean process."""

    kind: Literal["latency"]
    quantile: Literal["p50", "p95", "p99"] = "p95"
    maximum_milliseconds: float = Field(gt=0)


class SizeCheck(StrictModel):
    """Size of all files of the artifact."""

    kind: Literal["size"]
    maximum_megabytes: float = Field(gt=0)
    """1 MB = 1,000,000 bytes."""


class ParityCheck(StrictModel):
    """Largest absolute difference between exported and eager outputs on test rows, in a clean process."""

    kind: Literal["parity"]
    maximum_difference: float = Field(gt=0)


class DataCheck(StrictModel):
    """A measure of the delivery (`ratchet validate --help` lists them) against a bound."""

    kind: Literal["data"]
    measure: str
    minimum: float | None = None
    maximum: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> DataCheck:
        if (self.minimum is None) == (self.maximum is None):
            raise ValueError("give exactly one of minimum and maximum")
        return self


DataGateCheck = DataCheck
ModelCheck = Annotated[
    AbsoluteCheck | NonInferiorityCheck | SuperiorityCheck | LatencyCheck | SizeCheck | ParityCheck,
    Field(discriminator="kind"),
]


class GatePolicy(StrictModel):
    """The gates of one pipeline."""

    data: tuple[DataCheck, ...] = Field(min_length=1, strict=False)
    candidate: tuple[ModelCheck, ...] = Field(min_length=1, strict=False)
    staging: tuple[ModelCheck, ...] = Field(min_length=1, strict=False)
    champion: tuple[ModelCheck, ...] = Field(min_length=1, strict=False)
    bootstrap: Literal["absolute_only"] = "absolute_only"
    """The first model: checks against a champion are recorded as not applicable, all others must pass."""
