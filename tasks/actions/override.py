"""Promote what a gate held, on a person's word: recorded, signed, and never past a security refusal."""

from __future__ import annotations

import getpass
import time
from dataclasses import asdict
from typing import Any

from mlratchet.models.decisions.approval_request import publish_request, request_about
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.environment import environment
from mlratchet.models.decisions.judge_again import load_policy
from mlratchet.models.decisions.override import build_override, expiry_of
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.errors import ConfigurationError, GateRefusedError, SecurityError
from mlratchet.models.moments import utc
from mlratchet.models.promotion.change import change_champion
from mlratchet.tasks.actions.rejudge import with_answers
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.versions import decisions_of, registration_of, verify_promotable
from mlratchet.tasks.wiring import Adapters


def promote_by_override(
    adapters: Adapters, pipeline: str, version: int, *, reason: str, expires: str
) -> dict[str, Any]:
    """The ledger entry. Raises ``SecurityError`` where bytes, signatures or the ledger are not what they should be."""
    now_s = time.time()
    expires_s = expiry_of(expires, now_s)
    record = registration_of(adapters, pipeline, version)
    head = adapters.ledger.head(pipeline)
    if head is not None and head.version == version:
        raise ConfigurationError(f"version {version} of {pipeline} is champion already; there is nothing to override")
    newest: dict[str, tuple[str, Decision]] = {}
    for one in decisions_of(adapters, pipeline, version):
        if one["problem"]:
            raise SecurityError(f"version {version} of {pipeline}: {one['problem']}; no override goes past this")
        newest[one["decision"]["gate"]] = (one["digest"], one["decision"])
    newest = {gate: heard(adapters, *one, serving=head.version if head else None) for gate, one in newest.items()}
    document = build_override(
        pipeline,
        version,
        work_key=record.work_key,
        manifest=record.manifest_digest,
        champion_version=head.version if head else None,
        decisions=newest,
        actor=getpass.getuser(),
        reason=reason,
        at_s=now_s,
        expires_s=expires_s,
        environment=environment(),
    )

    def overridden() -> str:
        digest = publish_decision(adapters.store, document, adapters.keys.signer())
        verify_promotable(adapters, record, digest, champion_version=document["champion_version"])
        return digest

    change = change_champion(
        adapters.ledger,
        adapters.registry,
        record,
        holds=hold_book(adapters),
        authorise=overridden,
        over_generation=head.generation if head else 0,
        actor=document["actor"],
        reason=f"override until {utc(expires_s)}: {document['reason']}",
    )
    return asdict(change.entry)


def heard(adapters: Adapters, digest: str, decision: Decision, *, serving: int | None) -> tuple[str, Decision]:
    """The decision of a gate with what approvers said since. A run asks nobody about a version that another check held;
    whoever overrides that check does: the request is published here, for `ratchet approve`.

    Raises ``GateRefusedError`` when people would be asked, or were, about replacing another champion than serves.
    """
    if not decision["digests"].get("approvals"):
        return digest, decision
    if decision["champion_version"] != serving:
        raise GateRefusedError(
            f"version {decision['version']} of {decision['pipeline']}: approval was asked for replacing version "
            f"{decision['champion_version']}, but {serving} serves now; `ratchet run {decision['pipeline']}` judges it"
        )
    digest, decision = with_answers(adapters, digest)
    if any(check["kind"] == "approval" and check["verdict"] == "inconclusive" for check in decision["checks"]):
        policy = load_policy(adapters.store, decision["digests"]["policy"])
        who, run_id = getpass.getuser(), str(decision["run_id"])
        asked = request_about(decision, digest, policy, asked_by=who, run_id=run_id, at_s=time.time())
        publish_request(adapters.store, asked)
    return digest, decision
