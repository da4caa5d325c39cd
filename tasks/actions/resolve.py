"""Resolve: a person ends a hold, with a reason that is kept and signed."""

from __future__ import annotations

import getpass
import time
from typing import Any

from mlratchet.models.decisions.override import LEAST_REASON
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.monitoring.answers import Resolution, answered_names, publish_resolution
from mlratchet.models.promotion.holds import HoldEntry, held_names
from mlratchet.tasks.support.holds import hold_book, questions_of
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters

LEAST_DIGITS = 6  # of a finding's digest, to name it


def resolve(adapters: Adapters, what: str, *, reason: str) -> dict[str, Any]:
    """The entry that lifts a hold.

    Args:
        adapters: Where.
        what: A finding's digest, or its first digits; or a pipeline's name, for whatever holds it, also where its chain
            was cut.
        reason: Why it may end; at least `LEAST_REASON` characters.

    A finding about which a person is asked, and that holds nothing, is answered by the reason. Raises
    ``ConfigurationError`` when nothing of that name holds or asks anything.
    """
    if len(reason.strip()) < LEAST_REASON:
        raise ConfigurationError(f"--reason: say why in at least {LEAST_REASON} characters, got {reason.strip()!r}")
    book, actor, names = hold_book(adapters), getpass.getuser(), held_names(adapters.store)
    if what in names:
        return told(book.lift_all(what, reason=reason.strip(), actor=actor, at_s=time.time()))
    standing: list[HoldEntry] = []
    broken: list[SecurityError] = []  # of other pipelines: a person ends those by their names
    for name in sorted(names):
        try:
            standing += [hold.entry for hold in book.standing(name)]
        except SecurityError as error:
            broken.append(error)
    found = [one for one in standing if len(what) >= LEAST_DIGITS and one.finding.startswith(what)]
    asked = [(name, one) for name in sorted(answered_names(adapters.store)) for one in questions_of(adapters, name)]
    answered = [(name, one) for name, one in asked if len(what) >= LEAST_DIGITS and one.startswith(what)]
    if not found and len(answered) == 1:
        (name, finding), at_s = answered[0], time.time()
        said = Resolution(pipeline=name, finding=finding, reason=reason.strip(), actor=actor, at_s=at_s)
        publish_resolution(adapters.store, said)
        return {**said.model_dump(mode="json"), "name": name, "words": said.reason}
    if len(found) != 1:
        if not found and broken:
            raise broken[0]
        if not found and len(what) < LEAST_DIGITS:
            require_pipeline(adapters, what)
        held = ", ".join(f"{one.finding[:12]} ({one.name})" for one in standing) or "nothing is held"
        raise ConfigurationError(f"{what}: expected the digest of one finding that holds a pipeline; there are: {held}")
    for name, finding in answered:  # a person who ends a hold has said something about it
        said = Resolution(pipeline=name, finding=finding, reason=reason.strip(), actor=actor, at_s=time.time())
        publish_resolution(adapters.store, said)
    lifted = book.lift(found[0].name, finding=found[0].finding, reason=reason.strip(), actor=actor, at_s=time.time())
    if lifted is None:
        raise ConfigurationError(f"{what}: somebody lifted it meanwhile; `ratchet history {found[0].name}` says who")
    return told(lifted)


def told(entry: HoldEntry) -> dict[str, Any]:
    """As the command prints it."""
    return entry.model_dump(mode="json")
