"""The signed decision that ends a canary: of live checks, of a person, or because its time or its run is gone."""

from __future__ import annotations

from collections.abc import Sequence

from mlratchet.models.decisions.decision import plain_checks
from mlratchet.models.decisions.document import Decision
from mlratchet.models.gates.result import CheckResult, GateResult
from mlratchet.models.promotion.canary.entry import CanaryEntry, Outcome

KIND = "canary"


def end_of_canary(
    entry: CanaryEntry,
    *,
    champion: int | None,
    outcome: Outcome,
    reason: str,
    actor: str,
    at_s: float,
    results: Sequence[CheckResult] = (),
    digests: dict[str, str] | None = None,
) -> Decision:
    """The document. `champion`: who serves; `digests`: of the live evidence and the policy, where checks judged."""
    checks = plain_checks(GateResult(gate=KIND, verdict=outcome, checks=tuple(results)))
    return {
        "kind": "canary",
        "pipeline": entry.name,
        "gate": KIND,
        "verdict": outcome,
        "version": entry.version,
        "work_key": entry.work_key,
        "champion_version": champion,
        "actor": actor,
        "run_id": entry.run,
        "reason": reason,
        "at_s": at_s,
        "checks": checks,
        "digests": {"manifest": entry.manifest, "staging": entry.staging, **(digests or {})},
    }
