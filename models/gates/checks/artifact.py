"""`latency`, `size`, `memory`, `parity`, `contract`: the exact artifact, measured in a clean process."""

from __future__ import annotations

from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.result import CheckResult, against_bound, unknown
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


def judge_latency(check: LatencyCheck, case: Case) -> CheckResult:
    """A quantile of the forward of one row; in probation, of the live requests."""
    evidence, name = case.evidence, f"latency_{check.quantile}"
    times, n = evidence.latency_ms, evidence.latency_n
    if case.gate == "probation":
        times, n = (evidence.live.latency_ms, evidence.live.n) if evidence.live else ({}, 0)
    value = times.get(check.quantile)
    return _measured(check.kind, name, value, n, check.maximum_milliseconds, " ms")


def judge_size(check: SizeCheck, case: Case) -> CheckResult:
    """All files of the artifact."""
    size = None if case.evidence.size_bytes is None else case.evidence.size_bytes / 1e6
    return _measured(check.kind, "size", size, 1, check.maximum_megabytes, " MB")


def judge_memory(check: MemoryCheck, case: Case) -> CheckResult:
    """Peak of the clean process."""
    return _measured(check.kind, "memory", case.evidence.memory_mb, 1, check.maximum_megabytes, " MB")


def judge_parity(check: ParityCheck, case: Case) -> CheckResult:
    """The largest difference over the sample."""
    evidence = case.evidence
    return _measured(
        check.kind, "parity", evidence.parity_max_difference, evidence.parity_n, check.maximum_difference, ""
    )


def _measured(kind: str, name: str, value: float | None, n: int, maximum: float, unit: str) -> CheckResult:
    if value is not None and (n < 1 or value < 0):
        return unknown(kind, name, f"<= {maximum:g}{unit}", f"measured {value:g} over {n}: not a measurement")
    return against_bound(kind, name, value, n, maximum=maximum, unit=unit)


def judge_contract(check: ContractCheck, case: Case) -> CheckResult:
    """Every replayed request was answered as the signature says."""
    replay = case.evidence.live if case.gate == "probation" else case.evidence.contract
    threshold = f"0 failures in >= {check.minimum_requests} requests"
    if replay is None:
        return unknown(check.kind, "contract", threshold, "no requests were replayed")
    if replay.failures:
        more = f" and {len(replay.failures) - 1} more" if len(replay.failures) > 1 else ""
        reason = f"{len(replay.failures)} of {replay.n} requests failed: {replay.failures[0]}{more}"
    elif replay.n < check.minimum_requests:
        return unknown(check.kind, "contract", threshold, f"{replay.n} requests replayed", max(replay.n, 0))
    else:
        reason = f"all {replay.n} requests were answered as the signature says"
    return CheckResult(
        kind=check.kind,
        metric="contract",
        verdict="fail" if replay.failures else "pass",
        reason=f"contract: {reason}",
        threshold=threshold,
        value=float(len(replay.failures)),
        n=max(replay.n, 0),
        method="replayed",
    )
