"""A run that waits and has ended its process: what it goes on with, and when it has to.

It asked people, or its version is in its canary.

`waits/<pipeline>/<run id>.json`, signed: the revision, the delivery and the question that it had when it asked. A new
delivery or another deployment does not change what people were asked about. Whoever deletes the record makes the run
begin anew, as any other run does.
"""

from __future__ import annotations

from mlratchet.models.approval.standing import Approvals, Standing, standing
from mlratchet.models.approval.statement import Subject, read
from mlratchet.models.config import StrictModel
from mlratchet.models.decisions.approval_request import ApprovalRequest, read_request
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import ValidationError

WAITS = "waits/"
IN_CANARY = "canary-"  # begins the name of a wait that no form answers
LATE_S = 7 * 86_400.0  # seconds after its wait in which a run is still the one that asked: the stack may have been down


class WaitingRun(StrictModel):
    """What a run needs to go on."""

    run: str
    """Flow run id."""
    pipeline: str
    revision: str
    """Of the pipeline file, with what was changed for this run."""
    snapshot: str
    """Of the delivery that it ingested."""
    actor: str
    request: str
    """Where the question is published; empty in a canary."""
    form: str
    """Names the form in Prefect that may answer it; a new one for each wait."""
    watch: str = ""
    """In a canary: what a look at it needs, as JSON (`models/serving/canary_look.py`)."""
    until_s: float
    """Seconds since the epoch: then it goes on without an answer."""


def waiting_key(pipeline: str, run: str) -> str:
    """Where it is published."""
    return f"{WAITS}{pipeline}/{run}.json"


def publish_waiting(store: ObjectStore, waiting: WaitingRun) -> None:
    """Before the run's process ends; the newest word of a run stands."""
    store.put(waiting_key(waiting.pipeline, waiting.run), canonical_json(waiting.model_dump(mode="json")))


def waiting_of(store: ObjectStore, pipeline: str, run: str, *, now_s: float) -> WaitingRun | None:
    """What the run said before its process ended; None where it never asked, or so long ago that it begins anew.

    Raises ``SecurityError`` for a record of ours that is about another run.
    """
    key = waiting_key(pipeline, run)
    try:
        found = WaitingRun(**stored_document(store, key, "run", "pipeline", "revision"))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not a waiting run; it was changed") from error
    if (found.pipeline, found.run) != (pipeline, run):
        raise SecurityError(f"{store.bucket}/{key}: is about run {found.run} of {found.pipeline}; it was changed")
    return found if now_s <= found.until_s + LATE_S else None


def forget_waiting(store: ObjectStore, pipeline: str, run: str) -> None:
    """The run has ended. Idempotent."""
    store.delete(waiting_key(pipeline, run))


def said_about(store: ObjectStore, trusted: TrustedKeys, subject: Subject, *, now_s: float) -> Approvals:
    """Every statement in the bucket, with whom to believe and the time: nothing is verified yet."""
    statements, damaged = read(store, subject)
    return Approvals(subject=subject, statements=statements, damaged=damaged, trusted=trusted, now_s=now_s)


def standings(
    store: ObjectStore, trusted: TrustedKeys, request: ApprovalRequest, *, now_s: float
) -> tuple[Standing, ...]:
    """Where each approval check of the gate stands now."""
    approvals = said_about(store, trusted, request.subject, now_s=now_s)
    return tuple(standing(check, approvals) for check in request.checks())


def is_settled(found: tuple[Standing, ...]) -> bool:
    """Nothing is left to wait for: all agreed, or somebody rejected."""
    verdicts = {one.verdict for one in found}
    return "fail" in verdicts or verdicts == {"pass"}


def goes_on(store: ObjectStore, trusted: TrustedKeys, pipeline: str, run: str, *, now_s: float) -> str:
    """Why a run that waits has to be taken up again; empty while it waits.

    Raises ``SecurityError`` for a record or a question of ours that was changed.
    """
    waiting = waiting_of(store, pipeline, run, now_s=now_s)
    if waiting is None:
        return "what it waits for is gone from the bucket: it begins anew"
    if now_s >= waiting.until_s:
        return "the wait is over"
    try:
        request = read_request(store, waiting.request)
    except ObjectNotFound:
        return "its question is gone from the bucket: it asks again"
    return "the answer is in the bucket" if is_settled(standings(store, trusted, request, now_s=now_s)) else ""
