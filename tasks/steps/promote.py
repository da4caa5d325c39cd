"""Promote: the ledger entry is the promotion; alias and tags follow."""

from __future__ import annotations

from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.evidence import thaw_live
from mlratchet.models.promotion.change import change_champion
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.step import step
from mlratchet.tasks.support.because import because
from mlratchet.tasks.support.canaries import going_on
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.versions import verify_promotable
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run


@step("Promote to champion")
def promote(run: Run, work: Work, record: Registration, gate: GateRun) -> LedgerEntry:
    """Append to the ledger what the champion gate decided about the champion it was compared with.

    Raises ``SecurityError`` when signature, digest or bytes are not those of this very decision, ``GateRefusedError``
    for a version that was taken out of its canary after the gate had read its evidence.
    """
    adapters = run.adapters
    serving = work.champion

    def judged() -> str:
        refuse_pulled_back(run, record)
        verify_promotable(adapters, record, gate.decision, champion_version=serving.version if serving else None)
        refuse_pulled_back(run, record)  # to verify bytes takes its time
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


def refuse_pulled_back(run: Run, record: Registration) -> None:
    """Raises ``GateRefusedError`` for a version that somebody stopped in its canary, under the champion of now. What a
    check of the canary ended is the gate's to judge, by the policy of now."""
    if run.spec.serving.canary is None:
        return
    entry, chain, _ = going_on(run.adapters, run.spec.name)
    if entry is None or entry.work_key != record.work_key or entry.outcome != "fail" or chain.head is None:
        return
    of_now = (entry.generation, entry.head) == (chain.head.entry.generation, chain.head.digest)
    if of_now and _was_stopped(run, entry):
        raise GateRefusedError(
            f"version {record.version} of {record.name} was pulled back by {entry.actor}: {entry.reason} (decision "
            f"{entry.decision[:12]}); it is not promoted"
        )


def _was_stopped(run: Run, entry: CanaryEntry) -> bool:
    """Whether no check did it: then who stopped it stands in its evidence, or it has none."""
    if not entry.evidence:
        return True
    try:
        return bool(thaw_live(run.adapters.store, entry.evidence).stopped)
    except SecurityError:
        return True
