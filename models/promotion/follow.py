"""What the registry shows of a pipeline's versions, derived from registrations, gate runs and the ledger."""

from __future__ import annotations

from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.registry import ModelVersion, Registry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.move import champion_tags, point_alias
from mlratchet.models.registration.record import Registration

WORK_KEY = "ratchet.work_key"
STAGING = "ratchet.decision.staging"


def project_versions(
    store: ObjectStore, registry: Registry, name: str, records: list[Registration], entries: list[LedgerEntry]
) -> list[str]:
    """Tags of every version, aliases `candidate` and `staging`, one version per work key; what was repaired.

    `candidate` is the newest version that was registered (its candidate gate passed), `staging` the newest whose
    staging gate passed. A version that the registry lost is named, not made: that is what a rebuild is for.
    """
    held = {one.version: one for one in registry.list_versions(name)}
    repaired = remove_duplicates(registry, name, records, held)
    staged: dict[int, list[str]] = {}
    for record in records:
        runs = list_gate_runs(store, record.work_key)
        passed = [run.decision for run in runs if run.gate == "staging" and run.verdict == "pass"]
        if passed:
            staged[record.version] = passed
    newest_entry = {entry.version: entry for entry in entries}
    for record in records:
        shown = held.get(record.version)
        if shown is None:
            repaired.append(
                f"{name}: version {record.version} is not in the registry; `ratchet reconcile --rebuild` restores an "
                "empty one"
            )
            continue
        wanted = {**record.tags, WORK_KEY: record.work_key}
        decisions = staged.get(record.version, [])
        if decisions and shown.tags.get(STAGING) not in decisions:
            wanted[STAGING] = decisions[-1]
        if record.version in newest_entry:
            wanted |= champion_tags(newest_entry[record.version])
        repaired += restore_tags(registry, shown, wanted)
    present = [record.version for record in records if record.version in held]
    for alias, versions in (("candidate", present), ("staging", [v for v in present if v in staged])):
        repaired += point_alias(registry, name, alias, max(versions, default=None))
    if not entries:  # nothing was ever promoted: whoever carries these was not promoted by us
        for alias in ("champion", "previous"):
            repaired += point_alias(registry, name, alias, None)
    return repaired


def remove_duplicates(
    registry: Registry, name: str, records: list[Registration], held: dict[int, ModelVersion]
) -> list[str]:
    """A slow server may have made two versions of one work key: the registered one stays."""
    canonical = {record.work_key: record.version for record in records}
    removed = []
    for version, one in held.items():
        stands = canonical.get(one.tags.get(WORK_KEY, ""))
        if stands is not None and stands != version and stands in held:
            registry.delete_version(name, version)
            removed.append(f"{name}: version {version} removed; it was registered twice and version {stands} stands")
    return removed


def restore_tags(registry: Registry, shown: ModelVersion, wanted: dict[str, str]) -> list[str]:
    """Set what differs; one line naming it."""
    wrong = {key: value for key, value in wanted.items() if shown.tags.get(key) != value}
    if not wrong:
        return []
    registry.set_tags(shown.name, shown.version, wrong)
    return [f"{shown.name}: version {shown.version}: {', '.join(sorted(wrong))} set again"]
