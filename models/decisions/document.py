"""Decisions as documents: which fields a signed one has, and of which type.

A document stays the mapping that was read: its digest is over its bytes, and a later release may say more. What an
older one left out is absent, so only the moment is required; what stands there has the type that is said here.
"""

from __future__ import annotations

import math
from typing import Literal, NotRequired, Required

from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.result import Verdict
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

AS_SAID = ConfigDict(strict=True, extra="allow")


@with_config(AS_SAID)
class PartRecord(TypedDict):
    """One slice or group of a check."""

    label: str
    verdict: Verdict
    n: int
    value: float | None
    interval: list[float] | None


@with_config(AS_SAID)
class CheckRecord(TypedDict):
    """What one check found. Values that are not finite are None; the reason says why."""

    kind: str
    metric: str
    verdict: Verdict
    reason: str
    threshold: str
    value: float | None
    interval: list[float] | None
    interval_level: NotRequired[float]  # two-sided confidence of the interval; earlier releases did not write it
    n: int
    method: str
    seed: int | None
    parts: list[PartRecord]


@with_config(AS_SAID)
class ChampionRecord(TypedDict):
    """The ledger's word on the version that was compared with."""

    version: int
    generation: int
    manifest: str
    decision: str
    work_key: str


@with_config(AS_SAID)
class OverriddenGate(TypedDict):
    """A gate that an override answers for."""

    gate: str
    decision: str  # digest
    verdict: str
    reasons: list[str]


@with_config(AS_SAID)
class Decision(TypedDict, total=False):
    """A gate's verdict (`kind: gate`), a person's `override` of some, a `rollback`, or what ended a `canary`."""

    kind: Literal["gate", "override", "rollback", "canary"]
    pipeline: str
    gate: str  # `override`, `rollback` and `canary` of those kinds
    verdict: Verdict
    version: int | None  # None before the gate that registers one
    work_key: str
    champion_version: int | None  # who serves; None for the first model
    actor: str
    at_s: Required[float]  # seconds since the epoch; the verdict is of this moment
    checks: list[CheckRecord]
    digests: dict[str, str]  # of policy, pipeline, dataset, model, code and rows, whatever exists at this gate
    environment: dict[str, str]  # where the statistics were computed
    # of a gate
    champion: ChampionRecord | None
    bootstrap: bool
    holdout_uses: int | None
    times: dict[str, float]  # seconds since the epoch of what led here, for reading only
    run_id: str
    finding: str  # id of what monitoring found, of a run that it asked for; `reason` has its words
    # of a person
    reason: str
    overrides: list[OverriddenGate]
    not_judged: list[str]
    expires_s: float  # seconds since the epoch


_DECISION = TypeAdapter(Decision)


def held_checks(decision: Decision) -> list[CheckRecord]:
    """Those that did not pass."""
    return [check for check in decision["checks"] if check["verdict"] not in ("pass", "not_applicable")]


def as_decision(document: object, what: str) -> Decision:
    """The document itself, its types verified. Raises ``SecurityError`` naming `what` for another."""
    try:
        _DECISION.validate_python(document)
        decision: Decision = document  # type: ignore[assignment]  # just verified; a copy would lose what it says more
        finite = math.isfinite(decision["at_s"])
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise SecurityError(f"{what}: is not a decision ({said}); it was not written by a gate") from exc
    except (OverflowError, RecursionError) as exc:
        raise SecurityError(f"{what}: is not a decision ({exc}); it was not written by a gate") from exc
    if not finite:
        raise SecurityError(f"{what}: is not a decision (at_s: not a moment); it was not written by a gate")
    return decision
