"""`latency`, `size`, `memory`, `parity`, `contract`: the exact artifact, measured in a clean process."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.pipeline.strict import StrictModel
from pydantic import Field


class LatencyCheck(StrictModel):
    """Time of one forward of one row of the exported artifact, in a clean process; in probation, of one request."""

    kind: Literal["latency"]
    quantile: Literal["p50", "p95", "p99"] = "p95"
    maximum_milliseconds: float = Field(gt=0)


class SizeCheck(StrictModel):
    """Size of all files of the artifact."""

    kind: Literal["size"]
    maximum_megabytes: float = Field(gt=0)
    """1 MB = 1,000,000 bytes."""


class MemoryCheck(StrictModel):
    """Peak resident set of the clean process that loads the artifact and answers."""

    kind: Literal["memory"]
    maximum_megabytes: float = Field(gt=0)
    """1 MB = 1,000,000 bytes."""


class ParityCheck(StrictModel):
    """Largest absolute difference between exported and eager outputs on test rows, in a clean process."""

    kind: Literal["parity"]
    maximum_difference: float = Field(gt=0)


class ContractCheck(StrictModel):
    """Replayed requests: the signature, the example and what was asked before; in probation, what is asked now."""

    kind: Literal["contract"]
    minimum_requests: int = Field(default=1, ge=1)
    """Fewer replayed requests are inconclusive."""
