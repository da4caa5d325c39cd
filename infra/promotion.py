"""Promotion and its projections: ledger first, then the registry's aliases and tags."""

from __future__ import annotations

import time
from typing import Literal

from mlratchet.models.fault_points import fault_point
from mlratchet.models.ports.ledger import Ledger, LedgerConflict, LedgerEntry
from mlratchet.models.ports.registry import Registry
from mlratchet.models.registration.record import Registration


def promote_version(
    ledger: Ledger,
    record: Registration,
    *,
    decision: str,
    actor: str,
    reason: str,
    expected_generation: int,
    action: Literal["promote", "rollback"] = "promote",
) -> LedgerEntry:
    """One entry by conditional create. Repeating a promotion that holds already changes nothing.

    Raises ``LedgerConflict`` when another promotion came first; it says which.
    """
    fault_point("promote.before_ledger")
    try:
        entry = ledger.append(
            record.name,
            action=action,
            version=record.version,
            work_key=record.work_key,
            decision=decision,
            manifest=record.manifest_digest,
            actor=actor,
            reason=reason,
            now_s=time.time(),
            expected_generation=expected_generation,
        )
    except LedgerConflict:
        head = ledger.head(record.name)
        if head is None or head.work_key != record.work_key or head.decision != decision:
            raise
        entry = head  # an earlier try of this very promotion succeeded and its reply was lost
    fault_point("promote.after_ledger")
    return entry


def project(ledger: Ledger, registry: Registry, name: str) -> list[str]:
    """Make aliases and tags follow the ledger; returns what was repaired, one line each."""
    entries = ledger.entries(name)
    if not entries:
        return []
    repaired: list[str] = []
    head = entries[-1]
    previous = next((e.version for e in reversed(entries[:-1]) if e.version != head.version), None)
    for alias, version in (("champion", head.version), ("previous", previous)):
        holder = registry.get_alias(name, alias)
        if version is None:
            if holder is not None:
                registry.delete_alias(name, alias)
                repaired.append(f"{name}: alias {alias} removed from version {holder.version}")
        elif holder is None or holder.version != version:
            registry.set_alias(name, alias, version)
            repaired.append(f"{name}: alias {alias} moved to version {version}")
        fault_point(f"promote.after_alias_{alias}")
    wanted = {"ratchet.decision.champion": head.decision, "ratchet.generation": str(head.generation)}
    tags = registry.get_version(name, head.version).tags
    if any(tags.get(key) != value for key, value in wanted.items()):
        registry.set_tags(name, head.version, wanted)
        repaired.append(f"{name}: decision tag set on version {head.version}")
    return repaired
