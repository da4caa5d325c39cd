"""That people are told of a finding: by one process, and again until somebody was reached.

Beside the answers lie `<finding>-telling-<n>.json`, created before the n-th try, so that of two looks at once one
tells, and `<finding>-told.json` once a try went through. A try that nobody heard, or whose process was killed, is
followed by another after one minute, then two, four, and so on: whoever was told just before a kill is told twice.
"""

from __future__ import annotations

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.monitoring.answers import TELLING, TOLD, answer_key
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from pydantic import Field, ValidationError

FIRST_WAIT_S = 60.0  # before the second try; before each other twice as long
MOST_TRIES = 12  # the last one after about a day and a half


class Telling(StrictModel):
    """A try."""

    pipeline: str
    finding: str
    """Its id."""
    number: int = Field(ge=0)
    """From 1; 0: of no try, it was told."""
    by: str
    """Which process; it is another each time."""
    at_s: float
    """Seconds since the epoch."""


def begin_to_tell(store: ObjectStore, pipeline: str, finding: str, *, by: str, now_s: float) -> bool:
    """Whether the process `by` is to tell of a finding now: it was not told, and nobody tries or tried just before.

    Args:
        store: A `RecordStore`.
        pipeline: Whose.
        finding: Its id.
        by: A name that no other process has.
        now_s: Seconds since the epoch.
    """
    if store.exists(answer_key(pipeline, finding, TOLD)):
        return False
    wait_s, last_s = 0.0, now_s
    for number in range(1, MOST_TRIES + 1):
        known = _load(store, pipeline, finding, number)
        if known is None:
            if abs(now_s - last_s) < wait_s:  # one of far ahead is of a wrong clock, one of just ahead of another look
                return False
            return _create(store, Telling(pipeline=pipeline, finding=finding, number=number, by=by, at_s=now_s))
        wait_s, last_s = FIRST_WAIT_S * 2.0 ** (number - 1), known.at_s
    return False


def was_told(store: ObjectStore, pipeline: str, finding: str, *, by: str, now_s: float) -> None:
    """A try went through; idempotent."""
    _create(store, Telling(pipeline=pipeline, finding=finding, number=0, by=by, at_s=now_s))


def _key(pipeline: str, finding: str, number: int) -> str:
    return answer_key(pipeline, finding, f"{TELLING}{number}" if number else TOLD)


def _create(store: ObjectStore, telling: Telling) -> bool:
    key = _key(telling.pipeline, telling.finding, telling.number)
    try:
        store.create(key, canonical_json(telling.model_dump(mode="json")))
    except ObjectExists:
        return False
    return True


def _load(store: ObjectStore, pipeline: str, finding: str, number: int) -> Telling | None:
    key = _key(pipeline, finding, number)
    try:
        return Telling(**stored_document(store, key, "pipeline", "finding"))
    except ObjectNotFound:
        return None
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not of a finding that was told; it was changed") from error
