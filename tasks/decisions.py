"""What was decided about a version, and what a person may do about it."""

from __future__ import annotations

import getpass
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlratchet.infra.fetch import fetch_artifact
from mlratchet.infra.promotion import project, promote_version, refuse_cut_ledger
from mlratchet.models.errors import ConfigurationError, GateRefusedError, InfrastructureError, SecurityError
from mlratchet.models.gates.decision import load_decision
from mlratchet.models.gates.record import list_gate_runs
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.ledger import LedgerEntry
from mlratchet.models.ports.registry import RegistryError
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.tasks.wiring import Adapters


def registration_of(adapters: Adapters, pipeline: str, version: int) -> Registration:
    """The record of a version. Raises ``ConfigurationError`` when there is none."""
    work_key = adapters.registry.get_version(pipeline, version).tags.get("ratchet.work_key", "")
    record = find_registration(adapters.store, work_key)
    if record is None or record.version != version:
        raise ConfigurationError(
            f"version {version} of {pipeline} has no registration record; it was not made by a run"
        )
    return record


def decisions_of(adapters: Adapters, pipeline: str, version: int) -> list[dict[str, Any]]:
    """Every decision about the work of a version, oldest first, digests verified."""
    record = registration_of(adapters, pipeline, version)
    runs = list_gate_runs(adapters.store, record.work_key)
    return [{"digest": run.decision, "decision": load_decision(adapters.store, run.decision)} for run in runs]


def promote_by_hand(adapters: Adapters, pipeline: str, version: int) -> dict[str, Any]:
    """Promote on the strength of a champion gate that passed against today's champion."""
    record = registration_of(adapters, pipeline, version)
    head = adapters.ledger.head(pipeline)
    if head is not None and head.version == version:
        return asdict(head)
    newest: dict[str, tuple[str, dict[str, Any]]] = {}
    for one in decisions_of(adapters, pipeline, version):
        newest[one["decision"]["gate"]] = (one["digest"], one["decision"])
    for gate in ("data", "candidate", "staging", "champion"):
        if gate not in newest or newest[gate][1]["verdict"] != "pass":
            said = newest[gate][1]["verdict"] if gate in newest else "not judged"
            raise GateRefusedError(
                f"version {version} of {pipeline}: {gate} gate: {said}; only `pass` moves a model; "
                f"see `ratchet decision {pipeline} {version}`"
            )
    digest, judged = newest["champion"]
    serving = head.version if head else None
    if judged["champion_version"] != serving:
        raise GateRefusedError(
            f"version {version} of {pipeline} was compared with version {judged['champion_version']}, but {serving} "
            f"serves now; `ratchet run {pipeline}` judges it again"
        )
    verify_bytes(adapters, record)
    refuse_cut_ledger(adapters.ledger, adapters.registry, pipeline)
    entry = promote_version(
        adapters.ledger,
        record,
        decision=digest,
        actor=getpass.getuser(),
        reason="promoted by hand",
        expected_generation=head.generation if head else 0,
    )
    project(adapters.ledger, adapters.registry, pipeline)
    return asdict(entry)


def roll_back(adapters: Adapters, pipeline: str, *, to: int | None, reason: str) -> dict[str, Any]:
    """One ledger entry that makes an earlier champion the champion again."""
    entries = adapters.ledger.entries(pipeline)
    if not entries:
        raise ConfigurationError(f"{pipeline} has no champion to roll back from")
    head = entries[-1]
    earlier = {e.version: e for e in entries if e.version != head.version}  # the newest entry of each
    if not earlier:
        raise ConfigurationError(f"{pipeline} had no champion before version {head.version}")
    target = to if to is not None else next(e.version for e in reversed(entries) if e.version != head.version)
    if target not in earlier:
        known = sorted(earlier)
        raise ConfigurationError(f"version {target} of {pipeline} was never champion before; choose from {known}")
    record = promoted_record(adapters, earlier[target])
    verify_bytes(adapters, record)
    with suppress(RegistryError):  # a rollback must be possible while MLflow is away; nothing is hidden by waiting
        refuse_cut_ledger(adapters.ledger, adapters.registry, pipeline)
    actor = getpass.getuser()
    document = {
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
        "checks": [],
    }
    body = canonical_json(document)
    digest = digest_bytes(body)
    adapters.store.create(f"decisions/{digest}.json", body)
    entry = promote_version(
        adapters.ledger,
        record,
        decision=digest,
        actor=actor,
        reason=reason,
        expected_generation=head.generation,
        action="rollback",
    )
    return asdict(entry) | {"follows": follow(adapters, pipeline)}


def promoted_record(adapters: Adapters, entry: LedgerEntry) -> Registration:
    """The record behind a ledger entry, from the bucket alone. Raises ``SecurityError`` when it is not that one."""
    record = find_registration(adapters.store, entry.work_key)
    if record is None or record.version != entry.version or record.manifest_digest != entry.manifest:
        raise SecurityError(
            f"version {entry.version} of {entry.name}: its registration record is missing or is not the one that was "
            f"promoted in generation {entry.generation}; restore registrations/{entry.work_key}.json"
        )
    return record


def follow(adapters: Adapters, pipeline: str) -> str:
    """Make the registry follow; in words when it is away, because the ledger entry stands whatever it does."""
    try:
        project(adapters.ledger, adapters.registry, pipeline)
    except InfrastructureError as error:
        return f"the ledger entry stands; aliases follow with `ratchet reconcile`: {error}"
    return "aliases and tags follow"


def verify_bytes(adapters: Adapters, record: Registration) -> None:
    """Raises ``SecurityError`` when the artifact is not what was registered."""
    with tempfile.TemporaryDirectory(prefix="ratchet-verify-") as folder:
        fetch_artifact(adapters.bucket, record, Path(folder))
