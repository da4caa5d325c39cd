"""Promote: the ledger entry is the promotion; alias and tags follow."""

from __future__ import annotations

from mlratchet.infra.promotion import project, promote_version
from mlratchet.models.gates.record import GateRun
from mlratchet.models.ports.ledger import LedgerEntry
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.recognise import Work
from mlratchet.tasks.retry import worth_repeating
from mlratchet.tasks.wiring import Run
from prefect import task
from prefect.cache_policies import NO_CACHE


@task(
    name="Promote to champion",
    task_run_name="Promote to champion",
    retries=2,
    retry_delay_seconds=[2, 10],
    cache_policy=NO_CACHE,
    retry_condition_fn=worth_repeating,
)
def promote(run: Run, work: Work, record: Registration, gate: GateRun) -> LedgerEntry:
    """Append to the ledger what the champion gate decided about the champion it was compared with."""
    adapters = run.adapters
    entry = promote_version(
        adapters.ledger,
        record,
        decision=gate.decision,
        actor=run.actor,
        reason=f"champion gate passed (decision {gate.decision[:12]})",
        expected_generation=work.champion.generation if work.champion else 0,
    )
    project(adapters.ledger, adapters.registry, run.spec.name)
    return entry
