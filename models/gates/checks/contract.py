"""`contract`: the exact artifact answers requests as its signature says."""

from __future__ import annotations

from typing import Any, Literal

from mlratchet.models.gates.checks.base import ARTIFACT_GATES, Check
from mlratchet.models.gates.checks.case import Case
from mlratchet.models.gates.evidence import failing_columns
from mlratchet.models.gates.result import CheckResult, unknown
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer


class ContractCheck(Check):
    """Replayed requests: the signature, the example and what was asked before; in probation, what is asked now."""

    gates = (*ARTIFACT_GATES, "probation")
    wears = False

    kind: Literal["contract"]
    minimum_requests: int = Field(default=1, ge=1)
    """Fewer replayed requests are inconclusive."""
    breaking: tuple[str, ...] = Field(default=(), strict=False)
    """Columns that may break requests of the champion's clients: new ones without a default, or removed ones."""

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A policy that lets nothing break has the digest that it had before it could."""
        document: dict[str, Any] = write(self)
        if not self.breaking:
            del document["breaking"]
        return document

    def judge(self, case: Case) -> CheckResult:
        """Every replayed request was answered as the signature says."""
        replay = case.evidence.live if case.gate == "probation" else case.evidence.contract
        threshold = f"0 failures in >= {self.minimum_requests} requests"
        if replay is None:
            return unknown(self.kind, "contract", threshold, "no requests were replayed")
        allowed = [line for line in replay.failures if self._allows(line)]
        failures = [line for line in replay.failures if not self._allows(line)]
        if failures:
            more = f" and {len(failures) - 1} more" if len(failures) > 1 else ""
            reason = f"{len(failures)} of {replay.n} requests failed: {failures[0]}{more}"
            columns = sorted({name for line in failures for name in failing_columns(line)})
            if columns:
                reason += (
                    f"; breaking: {', '.join(columns)}: give what is new a value in serving.defaults, or name the "
                    "columns in `breaking` of this check"
                )
        elif replay.n < self.minimum_requests:
            return unknown(self.kind, "contract", threshold, f"{replay.n} requests replayed", max(replay.n, 0))
        else:
            reason = f"all {replay.n} requests were answered as the signature says"
            if allowed:
                reason = (
                    f"{len(allowed)} of {replay.n} requests break, as `breaking` allows: {', '.join(self.breaking)}"
                )
        return CheckResult(
            kind=self.kind,
            metric="contract",
            verdict="fail" if failures else "pass",
            reason=f"contract: {reason}",
            threshold=threshold,
            value=float(len(failures)),
            n=max(replay.n, 0),
            method="replayed",
        )

    def _allows(self, line: str) -> bool:
        """Whether a failure is of nothing but columns that the file lets break."""
        names = failing_columns(line)
        return bool(names) and set(names) <= set(self.breaking)
