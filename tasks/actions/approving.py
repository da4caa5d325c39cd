"""What people who approve do: see what waits, and answer. Needs the bucket and their own key, not Prefect."""

from __future__ import annotations

import getpass
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlratchet.infra.keys.files import load_approver, read_private, usable
from mlratchet.models.approval.statement import Statement, publish
from mlratchet.models.decisions.approval_page import headline
from mlratchet.models.decisions.approval_request import ApprovalRequest, list_requests, subject_fields
from mlratchet.models.decisions.decision import explain
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.decisions.waiting import is_settled
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.signing import Signer
from mlratchet.models.moments import utc
from mlratchet.models.registration.record import find_registration
from mlratchet.tasks.support.answers import standings
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What an approver says."""

    decision: str  # approve or reject
    reason: str
    owner: str | None = None  # whose key; None: the user of this process, or the owner of the key in `key_file`
    key_file: Path | None = None
    counts_for_s: float | None = None  # None: as long as the policy lets it


def open_requests(adapters: Adapters, pipeline: str | None = None) -> list[ApprovalRequest]:
    """Requests about versions that could still move: the champion they were compared with serves; oldest first."""
    heads = {}
    found = []
    for request in list_requests(adapters.store, pipeline):
        name = request.subject.pipeline
        if name not in heads:
            heads[name] = adapters.ledger.head(name)
        head = heads[name]
        if (head.version if head else None) == request.subject.champion_version:
            found.append(request)
    return found


def list_approvals(adapters: Adapters, pipeline: str | None = None) -> list[dict[str, Any]]:
    """What is open, and where it stands. Raises ``ConfigurationError`` for a name that nobody has heard of."""
    rows = []
    for request in open_requests(adapters, pipeline):
        found = standings(adapters, request)
        verdicts = {one.verdict for one in found}
        state = "rejected" if "fail" in verdicts else "approved" if verdicts == {"pass"} else "waiting"
        rows.append(
            {
                "pipeline": request.subject.pipeline,
                "version": request.subject.version,
                "gate": request.subject.gate,
                "champion": request.subject.champion_version,
                "state": state,
                "standing": [one.reason for one in found],
                "asked_by": request.asked_by,
                "asked_at": utc(request.at_s),
                "decision": request.decision,
                "run_id": request.run_id,
            }
        )
    if not rows and pipeline is not None:
        require_pipeline(adapters, pipeline)
    return rows


def choose(adapters: Adapters, pipeline: str, version: int | None) -> ApprovalRequest:
    """The newest open request. Raises ``ConfigurationError`` when there is none."""
    found = [r for r in open_requests(adapters, pipeline) if version in (None, r.subject.version)]
    if not found:
        require_pipeline(adapters, pipeline)
        which = f"version {version} of {pipeline}" if version is not None else pipeline
        raise ConfigurationError(f"nothing about {which} waits for approval; `ratchet approvals` lists what does")
    waiting = [r for r in found if not is_settled(standings(adapters, r))]
    return (waiting or found)[-1]


def verify_request(adapters: Adapters, request: ApprovalRequest) -> str:
    """What is asked, in words, from the decision behind it.

    Raises ``SecurityError`` when the decision is not signed, or decision or registration are about something else than
    the request.
    """
    subject = request.subject
    decision, _ = verified_decision(adapters.store, request.decision, Context(adapters.keys.trusted()))
    said = subject_fields(decision)
    wrong = [name for name, value in subject.model_dump().items() if said[name] != value]
    record = find_registration(adapters.store, subject.work_key)
    if record is None or (record.version, record.manifest_digest) != (subject.version, subject.manifest):
        wrong.append("registration")
    if wrong:
        raise SecurityError(
            f"{adapters.store.bucket}/{request.key}: differs from the decision in {', '.join(wrong)}; it was changed"
        )
    return explain(decision)


def answer(adapters: Adapters, request: ApprovalRequest, said: Answer) -> dict[str, Any]:
    """Sign and publish. Raises ``SecurityError`` for a person who was not asked."""
    signer, owner = approver(adapters, said)
    checks = [check for check in request.checks() if owner in check.approvers]
    if not checks:
        asked = sorted({name for check in request.checks() for name in check.approvers})
        raise SecurityError(
            f"{owner} is not one of those who may answer: {', '.join(asked)} (the approval check of "
            f"{request.subject.pipeline})"
        )
    longest_s = max(check.expires_after_hours for check in checks) * 3600
    now_s = time.time()
    statement = Statement.model_validate(
        {
            "subject": request.subject,
            "decision": said.decision,
            "approver": owner,
            "reason": said.reason,
            "at_s": now_s,
            "expires_s": now_s + min(said.counts_for_s or longest_s, longest_s),
            "method": "signature",
        }
    )
    published = publish(adapters.store, statement, signer)
    found = standings(adapters, request)
    return {
        "question": headline(request),
        "pipeline": request.subject.pipeline,
        "version": request.subject.version,
        "gate": request.subject.gate,
        "decision": said.decision,
        "approver": owner,
        "reason": said.reason,
        "key_id": signer.key_id,
        "expires_at": utc(statement.expires_s),
        "object": f"s3://{adapters.store.bucket}/{published.key}",
        "standing": [one.reason for one in found],
        "settled": is_settled(found),
    }


def approver(adapters: Adapters, said: Answer) -> tuple[Signer, str]:
    """The key, and whose it is by the list of trusted keys.

    Raises ``ConfigurationError`` for a key that is not an approver's, or not that of the person named.
    """
    settings, trusted = adapters.settings, adapters.keys.trusted()
    if said.key_file is not None:
        signer = usable(read_private(said.key_file), trusted, "approver", where=str(said.key_file))
    else:
        signer = load_approver(settings, said.owner or getpass.getuser())
    key = trusted.get(signer.key_id)
    assert key is not None  # both roads above looked it up
    if said.owner is not None and key.owner != said.owner:
        raise ConfigurationError(f"key {key.id} belongs to {key.owner}, not to {said.owner}")
    return signer, key.owner
