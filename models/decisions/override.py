"""An override: a person promotes what a gate held, and says who, why and until when.

It is itself a decision: it names every decision about the version by digest, is signed, and its digest is what the
ledger entry holds. It answers for statistics and measurements alone. Changed bytes, a broken signature and a cut ledger
are security refusals, which nothing overrides; a version that no gate has judged has nothing to override; and an
override does not stand for the approval of another person.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Literal

from mlratchet.models.decisions.document import Decision, OverriddenGate, held_checks
from mlratchet.models.errors import ConfigurationError, GateRefusedError, SecurityError
from mlratchet.models.gates.names import GATES
from mlratchet.models.moments import utc

KIND: Literal["override"] = "override"
MOST_DAYS = 30.0  # an override is for an incident, not for a policy
LEAST_REASON = 10  # characters
DAY_S = 86_400.0
UNITS_S = {"h": 3600.0, "d": DAY_S}


def expiry_of(text: str, now_s: float) -> float:
    """Seconds since the epoch of ``72h``, ``7d`` or an ISO date with a zone.

    Raises ``ConfigurationError`` for another form, for the past, and for more than `MOST_DAYS`.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hd])", text.strip())
    if found:
        expires_s = now_s + float(found[1]) * UNITS_S[found[2]]
    else:
        try:
            moment = dt.datetime.fromisoformat(text.strip())
        except ValueError as exc:
            raise ConfigurationError(f"--expires {text!r}: expected 72h, 7d or 2026-12-01T00:00Z") from exc
        if moment.tzinfo is None:
            raise ConfigurationError(f"--expires {text!r}: say the zone, e.g. {text.strip()}Z")
        expires_s = moment.timestamp()
    if not now_s < expires_s <= now_s + MOST_DAYS * DAY_S:
        raise ConfigurationError(f"--expires {text!r}: expected a moment in the next {MOST_DAYS:g} days")
    return expires_s


def build_override(
    pipeline: str,
    version: int,
    *,
    work_key: str,
    manifest: str,
    champion_version: int | None,
    decisions: Mapping[str, tuple[str, Decision]],
    actor: str,
    reason: str,
    at_s: float,
    expires_s: float,
    environment: Mapping[str, str],
) -> Decision:
    """The document. `decisions`: the newest of each gate that judged, digest and content.

    Raises ``ConfigurationError`` without a reason, ``GateRefusedError`` when there is nothing to override or when an
    approval is missing.
    """
    if len(reason.strip()) < LEAST_REASON:
        raise ConfigurationError(f"--reason: say why in at least {LEAST_REASON} characters, got {reason.strip()!r}")
    if not actor.strip():
        raise ConfigurationError("an override names who answers for it, got no actor")
    if not at_s < expires_s <= at_s + MOST_DAYS * DAY_S:
        raise ConfigurationError(f"an override ends within {MOST_DAYS:g} days, got {(expires_s - at_s) / DAY_S:.1f}")
    what = f"version {version} of {pipeline}"
    overridden = [_named(gate, *decisions[gate]) for gate in GATES if gate in decisions]
    held = [one for one in overridden if one["verdict"] != "pass"]
    if not held:
        raise GateRefusedError(f"{what}: no gate held it, there is nothing to override; `ratchet promote` without it")
    unanswered = [check for gate in GATES if gate in decisions for check in _unapproved(decisions[gate][1])]
    if unanswered:
        raise GateRefusedError(
            f"{what}: {unanswered[0]}; an override does not stand for another person's approval; who was asked "
            f"answers with `ratchet approve {pipeline} {version}`, then try again"
        )
    return {
        "kind": KIND,
        "gate": KIND,
        "pipeline": pipeline,
        "verdict": "pass",
        "version": version,
        "work_key": work_key,
        "champion_version": champion_version,
        "overrides": held,
        "not_judged": [gate for gate in GATES if gate not in decisions],
        "digests": {"manifest": manifest, **{f"gate.{one['gate']}": one["decision"] for one in overridden}},
        "environment": dict(environment),
        "actor": actor.strip(),
        "reason": reason.strip(),
        "at_s": at_s,
        "expires_s": expires_s,
        "checks": [],
    }


def _named(gate: str, digest: str, decision: Decision) -> OverriddenGate:
    reasons = [check["reason"] for check in held_checks(decision)]
    return OverriddenGate(gate=gate, decision=digest, verdict=decision["verdict"], reasons=reasons)


def _unapproved(decision: Decision) -> list[str]:
    return [check["reason"] for check in held_checks(decision) if check["kind"] == "approval"]


def check_override(document: Decision, what: str, *, at_s: float) -> None:
    """That a signed override is whole and was still in force at `at_s`.

    Raises ``SecurityError`` for one that names nothing it overrides, ``GateRefusedError`` for one that had expired.
    """
    missing = [name for name in ("actor", "reason", "overrides", "expires_s") if not document.get(name)]
    if missing:
        raise SecurityError(f"{what}: an override that names no {', no '.join(missing)}")
    began_s, expires_s = float(document["at_s"]), float(document["expires_s"])
    if not began_s < expires_s <= began_s + MOST_DAYS * DAY_S:
        raise SecurityError(f"{what}: an override of more than {MOST_DAYS:g} days")
    if at_s >= expires_s:
        raise GateRefusedError(f"{what}: the override of {document['actor']} expired on {utc(expires_s)}")
