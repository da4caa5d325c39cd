"""What was decided about a version: its record, its decisions, the ledger's entries about it, and its bytes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypedDict

from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.document import Decision, held_checks
from mlratchet.models.decisions.gate_run import dated_gate_runs
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import ConfigurationError, SecurityError
from mlratchet.models.identity.signed_records import ADOPT, WHO_ADOPTS, bare
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.registry import WORK_KEY, VersionNotFound
from mlratchet.models.ports.storage import ObjectNotFound
from mlratchet.models.promotion.registered import promoted_registration, refuse_unjudged_registration
from mlratchet.models.promotion.verify import verify_decision_of, verify_entry
from mlratchet.models.registration.numbers import work_of
from mlratchet.models.registration.record import Registration, find_registration, registration_key
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters


class JudgedDecision(TypedDict):
    """A decision about a version, as a person asks for it."""

    digest: str
    decision: Decision
    signed_by: str | None  # id of a key that is believed
    problem: str  # why none is


def registration_of(adapters: Adapters, pipeline: str, version: int) -> Registration:
    """The record of a version, by the number that the bucket says; the registry is asked where numbers were not written
    down yet. Raises ``ConfigurationError`` or ``VersionNotFound`` when there is none."""
    entries = adapters.ledger.entries(pipeline)
    promoted = next((entry for entry in reversed(entries) if entry.version == version), None)
    if promoted is not None:
        return promoted_record(adapters, promoted)
    work_key = work_of(adapters.store, pipeline, version)
    if work_key is None:
        try:
            work_key = adapters.registry.get_version(pipeline, version).tags.get(WORK_KEY, "")
        except VersionNotFound:
            require_pipeline(adapters, pipeline)
            raise
    record = find_registration(adapters.store, work_key)
    if record is not None and (record.name, record.version) == (pipeline, version):
        return record
    if record is None and bare(adapters.store).exists(registration_key(work_key)):
        raise SecurityError(
            f"version {version} of {pipeline}: {registration_key(work_key)} is not signed; "
            f"{WHO_ADOPTS.replace(ADOPT, ADOPT.replace('NAME', pipeline))}"
        )
    raise ConfigurationError(f"version {version} of {pipeline} has no registration record; it was not made by a run")


def decisions_of(adapters: Adapters, pipeline: str, version: int) -> list[JudgedDecision]:
    """Every decision about the work of a version, oldest first; `problem` says whose signature is not believed. One
    that a clock which was ahead dated is as old as its object, by the store's clock; within a second of that, as it
    says itself.

    Raises ``DigestMismatch`` for one that was changed.
    """
    record = registration_of(adapters, pipeline, version)
    context = context_of(adapters, pipeline, version)
    older = named_by_entries(adapters, context, version)
    found: list[tuple[float, JudgedDecision]] = []
    for written_s, run in dated_gate_runs(adapters.store, record.work_key):
        key_id, problem = None, ""
        held = context if run.decision in older else Context(context.trusted)
        try:
            _, key_id = verified_decision(adapters.store, run.decision, held)
        except SecurityError as error:
            problem = str(error)
        decision = load_decision(adapters.store, run.decision)
        made: JudgedDecision = {
            "digest": run.decision, "decision": decision, "signed_by": key_id, "problem": problem
        }  # fmt: skip
        found.append((min(float(decision["at_s"]), written_s), made))
    found.sort(key=lambda one: (one[0], float(one[1]["decision"]["at_s"])))  # the store's clock counts whole seconds
    return [made for _, made in found]


def decisions_of_run(adapters: Adapters, pipeline: str, run: str) -> list[JudgedDecision]:
    """Every decision that a run made or found, in the order of its gates; `run` is its id, or `last`.

    The report only names them: signatures and digests are verified as of a version's. Raises ``ConfigurationError`` for
    a run that has left no report, ``DigestMismatch`` for a decision that was changed.
    """
    key = f"runs/last/{pipeline}.json" if run == "last" else f"runs/{run}.json"
    try:
        report = json.loads(adapters.store.get(key))
        digests = [str(gate["decision"]) for gate in report["gates"]]
        of = report["pipeline"]
    except ObjectNotFound:
        require_pipeline(adapters, pipeline)
        raise ConfigurationError(
            f"run {run} of {pipeline} has left no report: it has not ended, or was killed; `ratchet run {pipeline}` "
            "resumes it"
        ) from None
    except (ValueError, LookupError, TypeError) as error:
        raise SecurityError(
            f"{adapters.store.bucket}/{key}: is not the report of a retrain; no run wrote it"
        ) from error
    if of != pipeline:
        raise ConfigurationError(f"run {run} is one of {of}, not of {pipeline}; `ratchet decision {of} --run {run}`")
    context = Context(adapters.keys.trusted())
    found: list[JudgedDecision] = []
    for digest in digests:
        key_id, problem = None, ""
        try:
            _, key_id = verified_decision(adapters.store, digest, context)
        except SecurityError as error:
            problem = str(error)
        found.append(
            {
                "digest": digest,
                "decision": load_decision(adapters.store, digest),
                "signed_by": key_id,
                "problem": problem,
            }
        )
    return found


def named_by_entries(adapters: Adapters, context: Context, version: int) -> set[str]:
    """Decisions that are as old as the ledger entries about a version: theirs, and those that these name."""
    found: set[str] = set()
    for link in context.chain.links if context.chain is not None else ():
        if link.entry.version == version:
            found.add(link.entry.decision)
            with suppress(SecurityError):  # gone or changed: it names nothing
                digests = load_decision(adapters.store, link.entry.decision).get("digests")
                found |= {str(one) for one in digests.values()} if isinstance(digests, dict) else set()
    return found


def history_of(adapters: Adapters, pipeline: str, *, newest: int | None = None) -> list[dict[str, Any]]:
    """The `newest` entries of the ledger, all without it, oldest first; before the first are its generation less one.

    Each says whether the decision behind it verifies; `problem` says why not. Raises ``ConfigurationError`` for a name
    that nobody has heard of.
    """
    chain = adapters.ledger.chain(pipeline)
    entries = [link.entry for link in chain.links]
    if not entries:
        require_pipeline(adapters, pipeline)
    trusted = adapters.keys.trusted() if entries else TrustedKeys()

    def told(entry: LedgerEntry) -> dict[str, Any]:
        problem = ""
        try:
            verify_entry(adapters.store, entries, entry.generation, Context(trusted, chain, entry.generation))
        except SecurityError as error:
            problem = str(error)
        return asdict(entry) | {"verified": not problem, "problem": problem}

    return list(side_by_side(told, entries if newest is None else entries[-newest:]))


def context_of(adapters: Adapters, pipeline: str, version: int) -> Context:
    """What signatures about a version are held against: the newest entry that promoted it shows their age."""
    chain = adapters.ledger.chain(pipeline)
    generations = [link.entry.generation for link in chain.links if link.entry.version == version]
    return Context(adapters.keys.trusted(), chain, generations[-1] if generations else None)


def verify_promotable(
    adapters: Adapters, record: Registration, decision: str, *, champion_version: int | None
) -> Decision:
    """The signed decision that lets this very version replace this very champion, and the version's bytes.

    Raises ``SecurityError`` for what was changed, ``GateRefusedError`` when a gate did not say `pass`.
    """
    found = verify_decision_of(
        adapters.store,
        decision,
        Context(adapters.keys.trusted()),
        pipeline=record.name,
        version=record.version,
        work_key=record.work_key,
        manifest=record.manifest_digest,
        champion_version=champion_version,
    )
    refuse_unjudged_registration(adapters.store, record, decision)
    verify_bytes(adapters, record)
    return found


def in_words(decision: Decision) -> str:
    """The verdict, and the reason of every check that did not pass."""
    reasons = [check["reason"] for check in held_checks(decision)]
    return f"{decision['verdict']}: {'; '.join(reasons)}"


def promoted_record(adapters: Adapters, entry: LedgerEntry) -> Registration:
    """The record behind a ledger entry, from the bucket alone. Raises ``SecurityError`` when it is not that one."""
    record = promoted_registration(adapters.store, entry, adapters.ledger.entries(entry.name))
    if record is None:
        raise SecurityError(
            f"version {entry.version} of {entry.name}: its registration record, which was promoted in generation "
            f"{entry.generation}, is missing; restore registrations/{entry.work_key}.json"
        )
    return record


def verify_bytes(adapters: Adapters, record: Registration) -> None:
    """Raises ``SecurityError`` when the artifact is not what was registered."""
    with temporary_folder("verify") as folder:
        fetch_artifact(adapters.bucket, record, Path(folder))
