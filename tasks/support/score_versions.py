"""Rescore: every other version that a gate compares with, now, on the same rows, in one pass each."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from mlratchet.infra.artifact.exported import load_exported
from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.models.errors import ConfigurationError, RatchetError, SecurityError
from mlratchet.models.evaluation.rows import RowOutputs
from mlratchet.models.evaluation.score import score
from mlratchet.models.evaluation.seen import mark_seen
from mlratchet.models.gates.needs import Demands
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.registration.record import Registration, find_registration, registration_key
from mlratchet.models.sources.record import Split
from mlratchet.tasks.support.seen_rows import seen_rows
from mlratchet.tasks.support.versions import registration_of
from mlratchet.tasks.support.work import Work
from mlratchet.tasks.wiring import Run

logger = logging.getLogger(__name__)
Model = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True, eq=False)
class Rescored:
    """What the candidate is compared with. A version that could not be scored is missing, with the reason."""

    champion: RowOutputs | None = None
    champion_model: Model | None = None
    versions: dict[int, RowOutputs] = field(default_factory=dict)
    anchor_version: int | None = None  # the first champion
    previous_version: int = 0  # the champion before the one that serves; 0: the ledger has none
    missing: dict[str, str] = field(default_factory=dict)  # `champion` or `version 3` -> why


def rescore(run: Run, work: Work, rows: Split, demands: Demands) -> Rescored:
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
            record = known or record_of(run, version, entries)
            loaded = load_version(run, record, entries)
            seen = seen_rows(
                run.adapters.store, run.spec, work.dataset_id, record, lambda parent: ancestor_of(run, parent, entries)
            )
            outputs = mark_seen(score_version(loaded, rows), seen)
        except (ConfigurationError, ObjectNotFound) as error:
            missing |= {f"version {version}": str(error)} | ({"champion": str(error)} if version == serving else {})
            logger.warning("version %d is not compared with: %s", version, error)
            continue
        if version == serving:
            champion, model = outputs, loaded
        if version in wanted:
            versions[version] = outputs
    return Rescored(
        champion=champion,
        champion_model=model,
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


def load_version(run: Run, record: Registration, entries: list[LedgerEntry]) -> Model:
    """The exported program of a version, its bytes verified. Raises ``ConfigurationError`` when it cannot be loaded."""
    refuse_other_bytes(record, entries)
    refuse_changed_registration(run.adapters.store, record, entries)
    directory = run.scratch / f"version-{record.version}"
    fetch_artifact(run.adapters.bucket, record, directory)
    try:
        return load_exported(directory)
    except RatchetError:
        raise
    except Exception as error:  # a program of another torch or platform may fail in any way: it is not comparable
        words = f"version {record.version} cannot be loaded here: {type(error).__name__}: {error}"
        raise ConfigurationError(words[:300]) from error


def refuse_other_bytes(record: Registration, entries: list[LedgerEntry]) -> None:
    """Whoever writes to the bucket could let a weaker model be compared with: what was champion is the ledger's word.

    Raises ``SecurityError`` when the record names another version or other bytes than were promoted.
    """
    for entry in entries:
        if entry.work_key == record.work_key and (entry.version, entry.manifest) != (
            record.version,
            record.manifest_digest,
        ):
            raise SecurityError(
                f"{registration_key(record.work_key)}: version {record.version} with manifest "
                f"{record.manifest_digest[:12]}, but version {entry.version} with {entry.manifest[:12]} was promoted; "
                "the registration was changed"
            )


def record_of(run: Run, version: int, entries: list[LedgerEntry]) -> Registration:
    """The registration of a version: by the ledger where it was champion, else by the registry."""
    for entry in reversed(entries):
        if entry.version == version:
            record = find_registration(run.adapters.store, entry.work_key)
            if record is not None and record.version == version:
                return record
    known = [one.version for one in run.adapters.registry.list_versions(run.spec.name)]
    if version not in known:
        raise ConfigurationError(f"{run.spec.name} has no version {version}; there are {known}")
    return registration_of(run.adapters, run.spec.name, version)


def ancestor_of(run: Run, version: int, entries: list[LedgerEntry]) -> Registration:
    """The registration of a version that another began from. Raises ``SecurityError`` for a champion's that was changed
    since: what it says is left out of comparisons."""
    record = record_of(run, version, entries)
    refuse_changed_registration(run.adapters.store, record, entries)
    return record


def score_version(model: Model, rows: Split) -> RowOutputs:
    """Raises ``ConfigurationError`` when the rows are not what the program takes."""
    try:
        return score(model, rows)
    except (RuntimeError, ValueError, IndexError, TypeError, AssertionError) as error:
        words = f"it cannot score rows of shape {list(rows.x.shape[1:])}: {type(error).__name__}: {error}"
        raise ConfigurationError(words[:300]) from error
