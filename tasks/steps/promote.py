"""Promote: the ledger entry is the promotion; alias and tags follow."""

from __future__ import annotations

from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.promotion.change import change_champion
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.step import step
from mlratchet.tasks.support.because import because
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.versions import verify_promotable
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


@step("Promote to champion")
def promote(run: Run, work: Work, record: Registration, gate: GateRun) -> LedgerEntry:
    """Append to the ledger what the champion gate decided about the champion it was compared with.

    Raises ``SecurityError`` when signature, digest or bytes are not those of this very decision.
    """
    adapters = run.adapters
    serving = work.champion

    def judged() -> str:
        verify_promotable(adapters, record, gate.decision, champion_version=serving.version if serving else None)
        return gate.decision

    return change_champion(
        adapters.ledger,
        adapters.registry,
        record,
        holds=hold_book(adapters),
        authorise=judged,
        over_generation=serving.generation if serving else 0,
        actor=run.actor,
        reason="; ".join([*because(run), f"champion gate passed (decision {gate.decision[:12]})"]),
    ).entry
