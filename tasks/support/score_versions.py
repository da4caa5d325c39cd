"""Rescore: every other version that a gate compares with, now, on the same rows, in one pass each."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial

from mlratchet.models.errors import ConfigurationError
from mlratchet.models.evaluation.seen import SEEN
from mlratchet.models.gates.needs import Demands
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.metrics.rows import RowOutputs
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.promotion.registered import promoted_registration, refuse_changed_registration
from mlratchet.models.registration.record import Registration
from mlratchet.tasks.support.examples import Examples
from mlratchet.tasks.support.open_version import Version, open_version
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Adapters, Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescored:
    """What the candidate is compared with. A version that could not be scored is missing, with the reason."""

    champion: RowOutputs | None = None
    champion_version: Version | None = None
    versions: dict[int, RowOutputs] = field(default_factory=dict)
    anchor_version: int | None = None  # the first champion
    previous_version: int = 0  # the champion before the one that serves; 0: the ledger has none
    missing: dict[str, str] = field(default_factory=dict)  # `champion` or `version 3` -> why


def rescore(run: Run, work: Work, examples: Examples, demands: Demands) -> Rescored:
    """Score the champion and every version that the policy names.

    Raises ``SecurityError`` for a version whose bytes are not the registered ones, and ``InfrastructureError`` when a
    server fails; a version that is not there or cannot take the rows is missing instead.
    """
    entries = run.adapters.ledger.entries(run.spec.name)
    anchor, previous = anchor_of(entries), previous_of(entries)
    named = ((anchor, demands.first), (previous, demands.previous))
    wanted = set(demands.versions) | {version for version, asked in named if asked and version}
    champion, model = None, None
    versions: dict[int, RowOutputs] = {}
    missing: dict[str, str] = {}
    serving = work.incumbent.version if work.incumbent is not None and work.incumbent.work_key != work.key else None
    for version in sorted(wanted | ({serving} if serving else set())):
        try:
            known = work.incumbent if version == serving else None
            record = known or record_of(run.adapters, run.spec.name, version, entries)
            opened = open_version(run.adapters, record, entries, run.scratch / f"version-{record.version}")
            examples.refuse_other_kind(opened)  # before rows of another kind are read: their reason would hide this one
            parents = partial(ancestor_of, run.adapters, run.spec.name, entries)
            seen = seen_rows(run.adapters.store, run.spec, work.dataset_id, record, parents)
            outputs = examples.score(opened, dict.fromkeys(seen, SEEN))
        except (ConfigurationError, ObjectNotFound) as error:
            missing |= {f"version {version}": str(error)} | ({"champion": str(error)} if version == serving else {})
            logger.warning("version %d is not compared with: %s", version, error)
            continue
        if version == serving:
            champion, model = outputs, opened
        if version in wanted:
            versions[version] = outputs
    return Rescored(
        champion=champion,
        champion_version=model,
        versions=versions,
        anchor_version=anchor,
        previous_version=previous,
        missing=missing,
    )


def anchor_of(entries: list[LedgerEntry]) -> int | None:
    """The first champion."""
    return entries[0].version if entries else None


def previous_of(entries: list[LedgerEntry]) -> int:
    """The champion before the newest, another version than it; 0 without one."""
    return next((entry.version for entry in reversed(entries[:-1]) if entry.version != entries[-1].version), 0)


def record_of(adapters: Adapters, name: str, version: int, entries: list[LedgerEntry]) -> Registration:
    """The registration of a version: by the ledger where it was champion, else by the registry."""
    for entry in reversed(entries):
        if entry.version == version:
            record = promoted_registration(adapters.store, entry, entries)
            if record is not None:
                return record
    known = [one.version for one in adapters.registry.list_versions(name)]
    if version not in known:
        raise ConfigurationError(f"{name} has no version {version}; there are {known}")
    return registration_of(adapters, name, version)


def ancestor_of(adapters: Adapters, name: str, entries: list[LedgerEntry], version: int) -> Registration:
    """The registration of a version that another began from. Raises ``SecurityError`` for a champion's that was changed
    since: what it says is left out of comparisons."""
    record = record_of(adapters, name, version, entries)
    refuse_changed_registration(adapters.store, record, entries)
    return record
