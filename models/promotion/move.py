"""Promotion and its projections: ledger first, then the registry's aliases and tags."""

from __future__ import annotations

import time
from typing import Literal

from mlratchet.models.errors import SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ledger.port import Ledger
from mlratchet.models.ports.registry import Registry, VersionNotFound
from mlratchet.models.registration.record import Registration

HEAD = "ratchet.head"  # tag of a registered model: SHA-256 hex of the ledger's newest entry, so that a cut tail shows


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
        entries = ledger.entries(record.name)
        ours = entries[expected_generation] if len(entries) > expected_generation else None
        if ours is None or (ours.action, ours.work_key, ours.decision) != (action, record.work_key, decision):
            raise
        entry = ours  # an earlier try of this very promotion succeeded and its reply was lost
    fault_point("promote.after_ledger")
    return entry


def refuse_cut_ledger(ledger: Ledger, registry: Registry, name: str) -> list[str]:
    """The digests of the ledger's entries. Raises ``SecurityError`` when the newest that was seen is gone.

    The tag is read first: what it names was published before the entries are listed.
    """
    seen = registry.model_tags(name).get(HEAD)
    digests = ledger.digests(name)
    if seen and seen not in digests:
        raise SecurityError(
            f"ledger/{name}: entry {seen[:12]} was the newest and is gone, {len(digests)} are left; its tail was cut "
            f"or rewritten: restore ledger/{name}/ from a copy of the bucket; until then nothing follows it"
        )
    return digests


def project(ledger: Ledger, registry: Registry, name: str) -> list[str]:
    """Make aliases and tags follow the ledger; returns what was repaired, one line each.

    Whoever wrote last has looked at the ledger afterwards, so that projections at once end with the newest entry.
    Raises ``SecurityError`` for a ledger whose newest entry is gone.
    """
    repaired: list[str] = []
    while True:
        digests = refuse_cut_ledger(ledger, registry, name)
        if not digests:
            return repaired
        repaired += _follow(ledger.entries(name)[: len(digests)], digests[-1], registry)
        if ledger.digests(name) == digests:
            return repaired


def _follow(entries: list[LedgerEntry], digest: str, registry: Registry) -> list[str]:
    """The head first: from then on a cut tail shows."""
    head, name = entries[-1], entries[-1].name
    repaired: list[str] = []
    if registry.model_tags(name).get(HEAD) != digest:
        registry.set_model_tags(name, {HEAD: digest})
        repaired.append(f"{name}: head of the ledger is generation {head.generation}")
    fault_point("promote.after_head")
    previous = next((e.version for e in reversed(entries[:-1]) if e.version != head.version), None)
    for alias, version in (("champion", head.version), ("previous", previous)):
        try:
            repaired += point_alias(registry, name, alias, version)
        except VersionNotFound:  # somebody deleted it there: the ledger stands all the same
            repaired.append(
                f"{name}: version {version} is not in the registry, so nothing has the alias {alias}; `ratchet "
                "reconcile` puts it back"
            )
        fault_point(f"promote.after_alias_{alias}")
    wanted = champion_tags(head)
    try:
        tags = registry.get_version(name, head.version).tags
    except VersionNotFound:
        return repaired
    if any(tags.get(key) != value for key, value in wanted.items()):
        registry.set_tags(name, head.version, wanted)
        repaired.append(f"{name}: decision tag set on version {head.version}")
    fault_point("promote.after_tags")
    return repaired


def champion_tags(entry: LedgerEntry) -> dict[str, str]:
    """What a version that was promoted carries."""
    return {"ratchet.decision.champion": entry.decision, "ratchet.generation": str(entry.generation)}


def point_alias(registry: Registry, name: str, alias: str, version: int | None) -> list[str]:
    """Make the alias name this version, or none; what was repaired."""
    holder = registry.get_alias(name, alias)
    if version is None:
        if holder is None:
            return []
        registry.delete_alias(name, alias)
        return [f"{name}: alias {alias} removed from version {holder.version}"]
    if holder is not None and holder.version == version:
        return []
    registry.set_alias(name, alias, version)
    return [f"{name}: alias {alias} moved to version {version}"]


def raise_alias(registry: Registry, name: str, alias: str, version: int) -> None:
    """`candidate` and `staging` name the newest version that came so far: an older one judged again changes nothing."""
    holder = registry.get_alias(name, alias)
    if holder is None or holder.version < version:
        registry.set_alias(name, alias, version)
