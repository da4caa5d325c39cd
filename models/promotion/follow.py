"""What the registry shows of a pipeline's versions, derived from registrations, gate runs and the ledger.

Tags and aliases can be edited by whoever reaches the registry; what a version was made from cannot. So a version is
known by its origin, its tags are put right, and one that a record or the ledger names is never removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.registry import VERSION, WORK_KEY, ModelVersion, Registry
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.move import champion_tags, point_alias
from mlratchet.models.registration.record import Registration

SOURCE = "ratchet.source_uri"
STAGING = "ratchet.decision.staging"
Restore = Callable[[Registration], str]


def project_versions(
    store: ObjectStore,
    registry: Registry,
    name: str,
    records: list[Registration],
    entries: list[LedgerEntry],
    *,
    named: Sequence[Registration] = (),
    restore: Restore | None = None,
) -> list[str]:
    """Tags of every version, aliases `candidate` and `staging`, one version per work key; what was repaired.

    `candidate` is the newest version that was registered (its candidate gate passed), `staging` the newest whose
    staging gate passed.

    Args:
        store: The store bucket.
        registry: What follows.
        name: Of the pipeline.
        records: Of its versions, those that are believed.
        entries: Of its ledger.
        named: Records of which nobody knows who wrote them: what they name is not removed.
        restore: Puts a version back that the registry lost; returns a line. Without it the version is named alone.
    """
    repaired: list[str] = []
    shown, others = shown_as([*records, *named], registry.list_versions(name))
    if restore is not None:
        repaired += [restore(record) for record in records if record.work_key not in shown]
    if repaired:
        shown, others = shown_as([*records, *named], registry.list_versions(name))
    repaired += remove_duplicates(registry, records, shown, others)
    repaired += take_numbers_back(registry, records, others)
    newest_entry = {entry.version: entry for entry in entries}
    staged: set[int] = set()
    for record in records:
        runs = list_gate_runs(store, record.work_key)
        decisions = [run.decision for run in runs if run.gate == "staging" and run.verdict == "pass"]
        staged |= {record.version} if decisions else set()
        one = shown.get(record.work_key)
        if one is None:
            repaired.append(
                f"{name}: version {record.version} is not in the registry; `ratchet reconcile` puts it back"
            )
            continue
        wanted = {**record.tags, WORK_KEY: record.work_key, SOURCE: record.source_uri}
        if one.number != record.version or VERSION in one.tags:
            wanted[VERSION] = str(record.version)
        if decisions and one.tags.get(STAGING) not in decisions:
            wanted[STAGING] = decisions[-1]
        if record.version in newest_entry:
            wanted |= champion_tags(newest_entry[record.version])
        repaired += restore_tags(registry, one, wanted, record.version)
    present = [record.version for record in records if record.work_key in shown]
    for alias, versions in (("candidate", present), ("staging", [v for v in present if v in staged])):
        repaired += point_alias(registry, name, alias, max(versions, default=None))
    if not entries:  # nothing was ever promoted: whoever carries these was not promoted by us
        for alias in ("champion", "previous"):
            repaired += point_alias(registry, name, alias, None)
    return repaired


def made_from(one: ModelVersion, record: Registration) -> bool:
    """Whether the registry was given this record's files as the source of the version."""
    return one.origin == record.source_uri or (record.model_id is not None and record.model_id in one.origin)


def shown_as(
    records: Iterable[Registration], held: list[ModelVersion]
) -> tuple[dict[str, ModelVersion], list[ModelVersion]]:
    """Work key -> the version of the registry that is this record's, and the versions that are no record's."""
    free = sorted(held, key=lambda one: one.number)
    found: dict[str, ModelVersion] = {}
    by_work = {record.work_key: record for record in records}  # a believed record stands before one that is not
    for honest in (True, False):  # those whose tags say the same come first: several may be made from the same files
        for record in by_work.values():
            if record.work_key in found:
                continue
            fitting = (
                one
                for one in free
                if made_from(one, record)
                and (not honest or (one.version, one.tags.get(WORK_KEY)) == (record.version, record.work_key))
            )
            one = next(fitting, None)
            if one is not None:
                found[record.work_key] = one
                free.remove(one)
    return found, free


def remove_duplicates(
    registry: Registry, records: list[Registration], shown: dict[str, ModelVersion], others: list[ModelVersion]
) -> list[str]:
    """A slow server may have made two versions of one work key: the registered one stays."""
    stands = {record.work_key: record.version for record in records if record.work_key in shown}
    removed = []
    for one in others:
        version = stands.get(one.tags.get(WORK_KEY, ""))
        if version is not None:
            registry.delete_version(one.name, one.number)
            removed.append(
                f"{one.name}: version {one.number} of the registry removed; it was registered twice and version "
                f"{version} stands"
            )
    return removed


def take_numbers_back(registry: Registry, records: list[Registration], others: list[ModelVersion]) -> list[str]:
    """A version that is no record's and says that it has the number of one has it no longer."""
    ours = {record.version for record in records}
    lines = []
    for one in others:
        if VERSION in one.tags and one.version in ours and one.tags[VERSION]:
            registry.edit_tags(one.name, one.number, {VERSION: ""})
            lines.append(
                f"{one.name}: version {one.number} of the registry is not version {one.version}; it says so no more"
            )
    return lines


def restore_tags(registry: Registry, one: ModelVersion, wanted: dict[str, str], version: int) -> list[str]:
    """Set what differs; one line naming it."""
    wrong = {key: value for key, value in wanted.items() if one.tags.get(key) != value}
    if one.origin and SOURCE in wrong and SOURCE not in one.tags:
        del wrong[SOURCE]  # a registry that says it by itself
    if not wrong:
        return []
    registry.edit_tags(one.name, one.number, wrong)
    return [f"{one.name}: version {version}: {', '.join(sorted(wrong))} set again"]
