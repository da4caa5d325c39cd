"""Roll back: one ledger entry makes an earlier champion the champion again."""

from __future__ import annotations

import getpass
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mlratchet.models.decisions.decision import plain_checks
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.errors import ConfigurationError
from mlratchet.models.gates.result import CheckResult, GateResult
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ledger.undo import version_before
from mlratchet.models.promotion.change import change_champion
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.support.versions import promoted_record, verify_bytes
from mlratchet.tasks.wiring import Adapters


def roll_back(
    adapters: Adapters,
    pipeline: str,
    *,
    to: int | None,
    reason: str,
    actor: str | None = None,
    from_generation: int | None = None,
    results: Sequence[CheckResult] = (),
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """One ledger entry that makes an earlier champion the champion again.

    Args:
        adapters: Where.
        pipeline: Whose.
        to: A version that was champion before; without it the one under the champion in the chain of promotions.
        reason: Kept in the decision and the ledger.
        actor: Who asks; the user of this process without it.
        from_generation: What is to be undone; raises ``LedgerConflict`` when another entry came after it.
        results: Of checks that ask for it; they stand in the decision.
        digests: Of what those rest on.
    """
    entries = adapters.ledger.entries(pipeline)
    if not entries:
        require_pipeline(adapters, pipeline)
        raise ConfigurationError(f"{pipeline} has no champion to roll back from; `ratchet run {pipeline}` promotes one")
    head = entries[-1]
    if from_generation is not None and head.generation != from_generation:
        raise LedgerConflict(
            f"{pipeline}: generation {from_generation} was to be rolled back, but {head.actor} made version "
            f"{head.version} champion since (generation {head.generation}); nothing was moved"
        )
    earlier = {e.version: e for e in entries if e.version != head.version}  # the newest entry of each
    target = target_of(entries, to)
    record = promoted_record(adapters, earlier[target])
    actor = actor or getpass.getuser()

    def asked_for() -> str:
        verify_bytes(adapters, record)
        document: Decision = {
            "kind": "rollback",
            "pipeline": pipeline,
            "gate": "rollback",
            "verdict": "pass",
            "version": target,
            "work_key": record.work_key,
            "champion_version": head.version,
            "actor": actor,
            "reason": reason,
            "at_s": time.time(),
            "checks": plain_checks(GateResult(gate="rollback", verdict="pass", checks=tuple(results))),
        }
        if digests:
            document["digests"] = dict(digests)
        return publish_decision(adapters.store, document, adapters.keys.signer())

    change = change_champion(
        adapters.ledger,
        adapters.registry,
        record,
        holds=hold_book(adapters),
        authorise=asked_for,
        over_generation=head.generation,
        actor=actor,
        reason=reason,
        action="rollback",
        without_registry=True,
    )
    return asdict(change.entry) | {"follows": change.follows}


def target_of(entries: Sequence[LedgerEntry], to: int | None) -> int:
    """The version to go back to: `to`, or the one under the champion in the chain of promotions.

    Raises ``ConfigurationError``, with the versions to choose from, when it cannot be gone back to.
    """
    head = entries[-1]
    pipeline = head.name
    known = sorted({entry.version for entry in entries} - {head.version})
    if not known:
        raise ConfigurationError(
            f"{pipeline} had no champion before version {head.version}, so there is none to go back to: "
            f"`ratchet stop {pipeline}` ends serving, `ratchet run {pipeline}` trains another"
        )
    target = to if to is not None else version_before(entries)
    if target is None:
        raise ConfigurationError(
            f"version {head.version} of {pipeline} is the first promotion that stands: the others were rolled back; "
            f"`ratchet rollback {pipeline} --to VERSION` brings one of {known} back"
        )
    if target == head.version:
        raise ConfigurationError(f"version {target} of {pipeline} is champion already (generation {head.generation})")
    if target not in known:
        raise ConfigurationError(f"version {target} of {pipeline} was never champion before; choose from {known}")
    return target
