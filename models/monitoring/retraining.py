"""Requests for a retrain by monitoring: signed, created before a run is started, one for a finding.

| object | says |
|---|---|
| `retrains/<finding>.json` | a retrain is wanted because of this finding |
| `retrains/windows/<identity>.json` | which finding it is for a pipeline's window and champion: at most one retrain |
| `retrains/<finding>/run-<n>.json` | which run took it, the n-th try |

A run is told the finding alone. What it says of its reason it has from the finding, which it verifies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.monitoring.finding import HEX, Finding, load_finding
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from pydantic import ValidationError

logger = logging.getLogger(__name__)

RETRAINS = "retrains/"
TRIES = 3  # runs that may be killed over one request
SHOWN = 12  # digits of a digest, in words


class RetrainRequest(StrictModel):
    """A retrain that is wanted."""

    pipeline: str
    finding: str
    """Its id."""
    champion: int
    """Generation of the ledger that serves."""
    window: str
    """Identity of pipeline, window and champion."""
    actor: str
    at_s: float
    """Seconds since the epoch."""

    @property
    def key(self) -> str:
        """Of its object."""
        return f"{RETRAINS}{self.finding}.json"

    @property
    def window_key(self) -> str:
        """Of the object that says which finding's retrain it is."""
        return f"{RETRAINS}windows/{self.window}.json"


class AlreadyAnsweredError(RatchetError):
    """The request needs no run: nothing failed, and there is nothing to do."""

    code = "ANSWERED"
    exit_code = 0


def window_identity(finding: Finding, champion: int) -> str:
    """Of a pipeline's window under one champion."""
    return digest([finding.pipeline, finding.window.from_s, finding.window.to_s, champion])


def request_retrain(
    store: ObjectStore, finding: Finding, *, champion: int, actor: str, at_s: float
) -> tuple[RetrainRequest, str]:
    """Write down that a retrain is wanted; safe to repeat. Returns the request that stands and the finding whose run
    answers it: another one's of the same window, where that came first."""
    wanted = RetrainRequest(
        pipeline=finding.pipeline,
        finding=finding.id,
        champion=champion,
        window=window_identity(finding, champion),
        actor=actor,
        at_s=at_s,
    )
    try:
        store.create(wanted.key, canonical_json(wanted.model_dump(mode="json")))
    except ObjectExists:
        wanted = load_request(store, finding.id)
    try:
        store.create(wanted.window_key, canonical_json({"finding": finding.id}))
    except ObjectExists:
        return wanted, answered_by(store, wanted)
    return wanted, finding.id


def load_request(store: ObjectStore, finding: str) -> RetrainRequest:
    """Raises ``ObjectNotFound`` where none of ours is, ``SecurityError`` for one that was changed."""
    key = f"{RETRAINS}{finding}.json"
    try:
        found = RetrainRequest(**stored_document(store, key, "pipeline", "finding", "window"))
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not a request for a retrain; it was changed") from error
    if found.key != key:
        raise SecurityError(f"{store.bucket}/{key}: is about finding {found.finding[:SHOWN]}; it was changed")
    return found


def answered_by(store: ObjectStore, request: RetrainRequest) -> str:
    """The finding whose run answers a request: its own, or the first of the same window. Raises ``ObjectNotFound``
    when whoever asked was killed before that was written down."""
    return str(stored_document(store, request.window_key, "finding")["finding"])


def requests(store: ObjectStore) -> Iterator[RetrainRequest]:
    """Every request that verifies; what does not is not there."""
    for info in store.list(RETRAINS):
        identity = info.key.removeprefix(RETRAINS).removesuffix(".json")
        if HEX.match(identity):
            try:
                yield load_request(store, identity)
            except (ObjectNotFound, SecurityError) as error:
                logger.warning("%s", error)


def runs_of(store: ObjectStore, finding: str) -> list[str]:
    """Ids of the runs that took a request, first try first."""
    found = []
    for number in range(1, TRIES + 1):
        try:
            document = stored_document(store, f"{RETRAINS}{finding}/run-{number}.json", "run")
        except ObjectNotFound:
            break
        found.append(str(document["run"]))
    return found


def take_request(
    store: ObjectStore,
    pipeline: str,
    finding: str,
    *,
    run_id: str,
    generation: int,
    has_ended: Callable[[str], bool],
    lives: Callable[[str], bool],
) -> Finding:
    """The finding, for this run alone; the same again for a run that took it before.

    Args:
        store: The store bucket.
        pipeline: Of the run.
        finding: What the run was told.
        run_id: Of the run.
        generation: Of the ledger that serves now.
        has_ended: Whether a run has left its report.
        lives: Whether a run may be alive.

    Raises ``SecurityError`` for a finding or a request that is none of ours: whoever can start a run chooses no reason.
    ``AlreadyAnsweredError`` when another run answers or has answered it, or another champion serves since.
    """
    what = f"retrain of {pipeline} because of finding {finding[:SHOWN]!r}"
    try:
        found = load_finding(store, pipeline, finding)
        request = load_request(store, finding)
        mine = answered_by(store, request)
    except ObjectNotFound as error:
        raise SecurityError(
            f"{what}: monitoring did not ask for it ({error}); somebody else started this run; "
            f"`ratchet run {pipeline}` retrains without a reason"
        ) from error
    runs = runs_of(store, finding)
    if run_id in runs:
        return found
    short = finding[:SHOWN]
    if mine != finding:
        raise AlreadyAnsweredError(f"finding {short} is of the window of finding {mine[:SHOWN]}, which has a run")
    if request.champion != generation:
        raise AlreadyAnsweredError(
            f"finding {short} is about generation {request.champion} of {pipeline}, and {generation} serves now"
        )
    for run in runs:
        if has_ended(run):
            raise AlreadyAnsweredError(f"finding {short} was answered by run {run}")
        if lives(run):
            raise AlreadyAnsweredError(f"finding {short} is being answered by run {run}")
    if len(runs) >= TRIES:
        raise AlreadyAnsweredError(f"{len(runs)} runs because of finding {short} were killed; `ratchet run {pipeline}`")
    try:
        store.create(f"{RETRAINS}{finding}/run-{len(runs) + 1}.json", canonical_json({"run": run_id}))
    except ObjectExists as error:
        raise AlreadyAnsweredError(f"finding {short} was taken by another run at this moment") from error
    return found
