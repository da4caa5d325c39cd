"""The one way a champion changes, whoever asks: a run, a person, an override, a rollback, a failed probation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from mlratchet.models.errors import InfrastructureError
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.port import Ledger
from mlratchet.models.ports.registry import Registry, RegistryError
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.models.promotion.move import project, promote_version, refuse_cut_ledger
from mlratchet.models.registration.record import Registration

FOLLOWS = "aliases and tags follow"


@dataclass(frozen=True, kw_only=True)
class ChampionChange:
    """What was done."""

    entry: LedgerEntry
    follows: str  # what became of aliases and tags, in words


def change_champion(
    ledger: Ledger,
    registry: Registry,
    record: Registration,
    *,
    holds: HoldBook,
    authorise: Callable[[], str],
    over_generation: int,
    actor: str,
    reason: str,
    action: Literal["promote", "rollback"] = "promote",
    without_registry: bool = False,
) -> ChampionChange:
    """Five steps, always in this order: the ledger is whole; nothing holds the pipeline, unless it goes back; a signed
    decision allows it; one ledger entry; the registry follows.

    Args:
        ledger: Where the entry is appended.
        registry: What follows it.
        record: Of the version that becomes champion.
        holds: What may hold the pipeline.
        authorise: Gives the digest of the decision that allows just this, after it has verified that decision and the
            version's bytes; raises ``SecurityError`` or ``GateRefusedError``.
        over_generation: The newest generation that the decision knows; 0 without one.
        actor: Who asked.
        reason: Kept in the entry.
        action: As the entry says it.
        without_registry: It may be away, and the entry stands all the same: a rollback must always be possible.

    Raises ``SecurityError`` for a ledger whose newest entry is gone, ``GateRefusedError`` for a promotion of a pipeline
    that is held, ``LedgerConflict`` when another change came first.
    """
    with suppress(*((RegistryError,) if without_registry else ())):
        refuse_cut_ledger(ledger, registry, record.name)
    if action == "promote":
        holds.refuse_held(record.name)  # before a person's override is written down
    decision = authorise()
    if action == "promote":
        holds.refuse_held(record.name)  # to verify bytes takes its time, and monitoring looks meanwhile
    entry = promote_version(
        ledger,
        record,
        decision=decision,
        actor=actor,
        reason=reason,
        expected_generation=over_generation,
        action=action,
    )
    try:
        project(ledger, registry, record.name)
    except InfrastructureError as error:
        if not without_registry:
            raise
        return ChampionChange(
            entry=entry, follows=f"the ledger entry stands; aliases follow with `ratchet reconcile`: {error}"
        )
    return ChampionChange(entry=entry, follows=FOLLOWS)
