"""What was decided about a version, and what a person may do about it."""

from __future__ import annotations

import getpass
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlratchet.infra.artifact.fetch import fetch_artifact
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.gate_run import list_gate_runs
from mlratchet.models.decisions.judge_again import replay
from mlratchet.models.decisions.signature import Context, publish_decision, verified_decision
from mlratchet.models.errors import ConfigurationError, GateRefusedError, InfrastructureError, SecurityError
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ports.registry import RegistryError, VersionNotFound
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.move import project, promote_version, refuse_cut_ledger
from mlratchet.models.promotion.registered import refuse_unjudged_registration
from mlratchet.models.promotion.verify import verify_decision_of, verify_entry
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.tasks.actions.rejudge import with_answers
from mlratchet.tasks.support.pipelines import require_pipeline
from mlratchet.tasks.wiring import Adapters


def registration_of(adapters: Adapters, pipeline: str, version: int) -> Registration:
    """The record of a version. Raises ``ConfigurationError`` or ``VersionNotFound`` when there is none."""
    try:
        work_key = adapters.registry.get_version(pipeline, version).tags.get("ratchet.work_key", "")
    except VersionNotFound:
        require_pipeline(adapters, pipeline)
        raise
    record = find_registration(adapters.store, work_key)
    if record is None or (record.name, record.version) != (pipeline, version):
        raise ConfigurationError(
            f"version {version} of {pipeline} has no registration record; it was not made by a run"
        )
    return record


def decisions_of(adapters: Adapters, pipeline: str, version: int) -> list[dict[str, Any]]:
    """Every decision about the work of a version, oldest first; `problem` says whose signature is not believed.

    Raises ``DigestMismatch`` for one that was changed.
    """
    record = registration_of(adapters, pipeline, version)
    runs = list_gate_runs(adapters.store, record.work_key)
    context = context_of(adapters, pipeline, version)
    older = named_by_entries(adapters, context, version)
    found = []
    for run in runs:
        key_id, problem = None, ""
        held = context if run.decision in older else Context(context.trusted)
        try:
            _, key_id = verified_decision(adapters.store, run.decision, held)
        except SecurityError as error:
            problem = str(error)
        decision = load_decision(adapters.store, run.decision)
        found.append({"digest": run.decision, "decision": decision, "signed_by": key_id, "problem": problem})
    return sorted(found, key=lambda one: float(one["decision"]["at_s"]))  # the store's clock counts whole seconds


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


def judge_again(store: ObjectStore, decision: dict[str, Any]) -> dict[str, Any]:
    """A replay, with its result in words. Raises ``SecurityError`` when evidence or policy is missing or changed."""
    again = replay(store, decision)
    where = "the recorded environment" if again.same_environment else "another environment"
    if again.problems:
        line = f"judged again in {where}: {again.problem}"
    elif again.largest_difference == 0.0:
        line = f"judged again in {where}: {again.checks} checks, every number identical"
    else:
        line = f"judged again in {where}: {again.checks} checks, largest difference {again.largest_difference:.1e}"
    return asdict(again) | {"holds": not again.problems, "line": line}


def history_of(adapters: Adapters, pipeline: str) -> list[dict[str, Any]]:
    """Every entry of the ledger, and whether the decision behind it verifies; `problem` says why not.

    Raises ``ConfigurationError`` for a name that nobody has heard of.
    """
    chain = adapters.ledger.chain(pipeline)
    entries = [link.entry for link in chain.links]
    if not entries:
        require_pipeline(adapters, pipeline)
    trusted = adapters.keys.trusted() if entries else TrustedKeys()
    told = []
    for entry in entries:
        problem = ""
        try:
            verify_entry(adapters.store, entries, entry.generation, Context(trusted, chain, entry.generation))
        except SecurityError as error:
            problem = str(error)
        told.append(asdict(entry) | {"verified": not problem, "problem": problem})
    return told


def context_of(adapters: Adapters, pipeline: str, version: int) -> Context:
    """What signatures about a version are held against: the newest entry that promoted it shows their age."""
    chain = adapters.ledger.chain(pipeline)
    generations = [link.entry.generation for link in chain.links if link.entry.version == version]
    return Context(adapters.keys.trusted(), chain, generations[-1] if generations else None)


def verify_promotable(
    adapters: Adapters, record: Registration, decision: str, *, champion_version: int | None
) -> dict[str, Any]:
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


def promote_by_hand(adapters: Adapters, pipeline: str, version: int) -> dict[str, Any]:
    """Promote on the strength of a champion gate that passed against today's champion; nothing to do for that one.

    Raises ``SecurityError`` for anything that does not verify, a ledger whose newest entry is gone included, and
    ``GateRefusedError`` when a gate did not pass or was judged against an earlier champion.
    """
    record = registration_of(adapters, pipeline, version)
    head = adapters.ledger.head(pipeline)
    refuse_cut_ledger(adapters.ledger, adapters.registry, pipeline)
    if head is not None and head.version == version:
        return asdict(head)
    found = {one["decision"]["gate"]: one for one in decisions_of(adapters, pipeline, version)}
    for one in found.values():
        if one["problem"]:
            raise SecurityError(f"version {version} of {pipeline}: {one['problem']}")
    newest = {gate: (one["digest"], one["decision"]) for gate, one in found.items()}
    if "champion" in newest:
        newest["champion"] = with_answers(adapters, newest["champion"][0])
    for gate in ("data", "candidate", "staging", "champion"):
        if gate not in newest or newest[gate][1]["verdict"] != "pass":
            said = in_words(newest[gate][1]) if gate in newest else "not judged"
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
    verify_promotable(adapters, record, digest, champion_version=serving)
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


def in_words(decision: dict[str, Any]) -> str:
    """The verdict, and the reason of every check that did not pass."""
    reasons = [c["reason"] for c in decision["checks"] if c["verdict"] not in ("pass", "not_applicable")]
    return f"{decision['verdict']}: {'; '.join(reasons)}"


def roll_back(
    adapters: Adapters,
    pipeline: str,
    *,
    to: int | None,
    reason: str,
    actor: str | None = None,
    from_generation: int | None = None,
) -> dict[str, Any]:
    """One ledger entry that makes an earlier champion the champion again.

    Args:
        adapters: Where.
        pipeline: Whose.
        to: A version that was champion before; the last other one without it.
        reason: Kept in the decision and the ledger.
        actor: Who asks; the user of this process without it.
        from_generation: What is to be undone; raises ``LedgerConflict`` when another entry came after it.
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
    if not earlier:
        raise ConfigurationError(f"{pipeline} had no champion before version {head.version}")
    target = to if to is not None else next(e.version for e in reversed(entries) if e.version != head.version)
    if target == head.version:
        raise ConfigurationError(f"version {target} of {pipeline} is champion already (generation {head.generation})")
    if target not in earlier:
        known = sorted(earlier)
        raise ConfigurationError(f"version {target} of {pipeline} was never champion before; choose from {known}")
    record = promoted_record(adapters, earlier[target])
    verify_bytes(adapters, record)
    with suppress(RegistryError):  # a rollback must be possible while MLflow is away; nothing is hidden by waiting
        refuse_cut_ledger(adapters.ledger, adapters.registry, pipeline)
    actor = actor or getpass.getuser()
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
    digest = publish_decision(adapters.store, document, adapters.keys.signer())
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
