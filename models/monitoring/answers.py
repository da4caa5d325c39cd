"""Answers in the bucket: `answers/<pipeline>/<finding>.json`, created before anything is done about a finding, so that
whoever is killed in between leaves what the next one goes on with. Beside it lie later answers, of what the first
withheld (`-later`, `-later-2`, ...), a person's word on the finding (`-resolved`), and who told people of it
(`telling.py`)."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from itertools import count

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.moments import utc
from mlratchet.models.monitoring.actions import FindingAnswer
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from pydantic import ValidationError

logger = logging.getLogger(__name__)

ANSWERS = "answers/"
RESOLVED = "-resolved"
LATER = "-later"
TOLD, TELLING = "-told", "-telling-"
ANSWER = re.compile(r"(?P<finding>[0-9a-f]+)(?P<later>-later(-(?P<turn>[1-9]\d{0,2}))?)?\.json")


class Resolution(StrictModel):
    """What a person said about a finding."""

    pipeline: str
    finding: str
    reason: str
    actor: str
    at_s: float
    """Seconds since the epoch."""


def answer_key(pipeline: str, finding: str, suffix: str = "") -> str:
    """Where it is."""
    return f"{ANSWERS}{pipeline}/{finding}{suffix}.json"


def publish_answer(store: ObjectStore, answer: FindingAnswer) -> tuple[FindingAnswer, bool]:
    """The answer that stands, and whether it is this one: of a finding there is one, and one of each later turn; first
    come."""
    turn = answer.turn if answer.later else 0
    key = answer_key(answer.pipeline, answer.finding, _suffix(turn))
    try:
        store.create(key, canonical_json(answer.model_dump(mode="json")))
    except ObjectExists:
        return load_answer(store, answer.pipeline, answer.finding, turn=turn), False
    return answer, True


def _suffix(turn: int) -> str:
    """Of the first answer (0) and of those that came later, the first of them without a number."""
    return f"{LATER}-{turn}" if turn > 1 else LATER if turn else ""


def load_answer(store: ObjectStore, pipeline: str, finding: str, *, turn: int = 0) -> FindingAnswer:
    """Raises ``ObjectNotFound`` where there is none of ours, ``SecurityError`` for one that was changed. `turn`: 0 of
    the first answer, from 1 of those that came later."""
    key = answer_key(pipeline, finding, _suffix(turn))
    try:
        found = FindingAnswer(**stored_document(store, key, "pipeline", "finding"))
    except ValidationError as error:
        raise SecurityError(f"{store.bucket}/{key}: is not an answer; it was changed") from error
    if (found.pipeline, found.finding, found.later * found.turn) != (pipeline, finding, turn):
        raise SecurityError(f"{store.bucket}/{key}: is about another finding; it was copied or changed")
    return found


def answers_of(store: ObjectStore, pipeline: str) -> Iterator[FindingAnswer]:
    """Every answer of a pipeline that verifies; what does not is not there."""
    for info in store.list(f"{ANSWERS}{pipeline}/"):
        name = ANSWER.fullmatch(info.key.rpartition("/")[2])
        if name is None:
            continue
        try:
            yield load_answer(store, pipeline, name["finding"], turn=int(name["turn"] or 1) if name["later"] else 0)
        except (ObjectNotFound, SecurityError) as error:
            logger.warning("%s", error)


def said_about(store: ObjectStore, pipeline: str, finding: str) -> list[str]:
    """What was decided about a finding, and what was not done for which reason, a line each; empty before anything was.

    Raises ``SecurityError`` for an answer that was changed.
    """
    lines = []
    for turn in count():
        try:
            one = load_answer(store, pipeline, finding, turn=turn)
        except ObjectNotFound:
            if turn:
                break
            continue
        done = ", ".join(act.do for act in one.actions) or "nothing"
        lines.append(f"{utc(one.at_s)}: {done}{'; at a later look' if turn else ''}")
        lines += [f"not done: {why}" for why in one.withheld]
    return lines


def publish_resolution(store: ObjectStore, resolution: Resolution) -> bool:
    """A person's word on a finding; False when there is one already."""
    key = answer_key(resolution.pipeline, resolution.finding, RESOLVED)
    try:
        store.create(key, canonical_json(resolution.model_dump(mode="json")))
    except ObjectExists:
        return False
    return True


def answered_names(store: ObjectStore) -> set[str]:
    """Pipelines that have answers."""
    return {info.key.split("/")[1] for info in store.list(ANSWERS)}


def is_resolved(store: ObjectStore, pipeline: str, finding: str) -> bool:
    """Whether a person has said something about it."""
    return store.exists(answer_key(pipeline, finding, RESOLVED))


def open_questions(store: ObjectStore, pipeline: str, *, since_s: float) -> list[str]:
    """Ids of findings about which a person is asked and has said nothing, answered after `since_s`."""
    asked = [
        one.finding
        for one in answers_of(store, pipeline)
        if one.at_s >= since_s and any(act.do == "ask" for act in one.actions)
    ]
    return [finding for finding in asked if not is_resolved(store, pipeline, finding)]
