"""What judges: the user's functions that a policy names, and Ratchet's own code."""

from __future__ import annotations

from typing import Any

from mlratchet.models.gates.policy import GatePolicy
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.closure import Closure, source_of
from mlratchet.models.identity.product import JUDGEMENT


def functions_of(policy: GatePolicy, gate: str) -> tuple[str, ...]:
    """References of the user's code that the checks of a gate name (functions, checks, metrics), each once, by name."""
    return tuple(sorted({one for check in policy.checks(gate) for one in check.user_code}))


def judging_code(policy: GatePolicy, gate: str) -> dict[str, Any]:
    """All code that a verdict of a gate depends on, as JSON values."""
    return JUDGEMENT.code(*_closures(policy, gate))


def functions_named(policy: GatePolicy, gate: str) -> dict[str, str]:
    """For the digests of a decision: `functions`, SHA-256 hex of what the gate's functions are made of, if any."""
    closures = _closures(policy, gate)
    return {"functions": digest([closure.parts() for closure in closures])} if closures else {}


def _closures(policy: GatePolicy, gate: str) -> list[Closure]:
    return [source_of(one) for one in functions_of(policy, gate)]
