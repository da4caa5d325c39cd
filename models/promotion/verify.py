"""May this version be champion? What promotion, the server and an audit each ask before they believe a ledger entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlratchet.models.decisions import override
from mlratchet.models.decisions.approval_proof import verify_statements
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.gate_run import GateRun
from mlratchet.models.decisions.judge_again import load_policy
from mlratchet.models.decisions.signature import Context, verified_decision
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.gates.names import EARLIER_GATES, GATES
from mlratchet.models.gates.policy import approval_checks
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore

SHARED = ("dataset", "policy", "rows", "program", "manifest", "registration")
"""Digests that every gate of a promotion agrees on."""


def differences(decision: Mapping[str, object], wanted: Mapping[str, object]) -> list[str]:
    """``version 3, expected 2`` for each field that is not as wanted."""
    return [
        f"{name} {_short(decision.get(name))}, expected {_short(value)}"
        for name, value in wanted.items()
        if decision.get(name) != value
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text[:12] if len(text) >= 40 else text


def confirmed(
    store: ObjectStore,
    trusted: TrustedKeys,
    gate_run: GateRun,
    *,
    pipeline: str,
    champion: int | None,
    digests: dict[str, str],
) -> Decision:
    """The decision of a gate run found in the bucket, before anybody acts on the verdict that it repeats.

    Raises ``SecurityError`` when the decision is not a genuine one about just this.
    """
    decision, _ = verified_decision(store, gate_run.decision, Context(trusted))
    wrong = differences(_digests(decision), dict(digests)) + differences(
        decision,
        {
            "gate": gate_run.gate,
            "verdict": gate_run.verdict,
            "work_key": gate_run.work_key,
            "pipeline": pipeline,
            "champion_version": champion,
        },
    )
    if wrong:
        raise SecurityError(
            f"{store.bucket}/gates/{gate_run.work_key}/{gate_run.id}.json: its decision says something else: "
            f"{'; '.join(wrong)}; it was changed, remove it to judge again"
        )
    return decision


def verify_decision_of(
    store: ObjectStore,
    digest: str,
    context: Context,
    *,
    pipeline: str,
    version: int,
    work_key: str,
    manifest: str,
    champion_version: int | None,
    at_s: float | None = None,
) -> Decision:
    """The champion gate's decision about exactly this version, these bytes and this champion, and every gate before it;
    or a person's override of them, which must have been in force at `at_s`.

    Raises ``SecurityError`` for a signature or digest that does not hold or a decision about something else,
    ``GateRefusedError`` for a genuine one that is not `pass`.
    """
    decision, _ = verified_decision(store, digest, context)
    what = f"decision {digest[:12]} about version {version} of {pipeline}"
    overridden = decision.get("kind") == override.KIND
    wrong = differences(
        {**decision, "manifest": _digests(decision).get("manifest")},
        {
            "kind": override.KIND if overridden else "gate",
            "gate": override.KIND if overridden else "champion",
            "pipeline": pipeline,
            "version": version,
            "work_key": work_key,
            "manifest": manifest,
            "champion_version": champion_version,
        },
    )
    if wrong:
        raise SecurityError(f"{what}: is about something else: {'; '.join(wrong)}")
    _require_pass(decision, what)
    if overridden:
        override.check_override(decision, what, at_s=decision["at_s"] if at_s is None else at_s)
        _verify_overridden(store, decision, context)
        return decision
    verify_statements(store, decision, context.trusted, context.anchored)
    for gate in EARLIER_GATES:
        verify_earlier_gate(store, decision, gate, context)
    return decision


def _verify_overridden(store: ObjectStore, document: Decision, context: Context) -> None:
    """Every decision that an override names is genuine and about the same work, and whom their policy asks agreed."""
    named = _digests(document)
    for name, digest in named.items():
        if not name.startswith("gate."):
            continue
        decision, _ = verified_decision(store, digest, context)
        wanted = {"kind": "gate", "pipeline": document["pipeline"], "work_key": document["work_key"]}
        wrong = differences(decision, {**wanted, "gate": name.removeprefix("gate.")})
        if wrong:
            raise SecurityError(f"decision {digest[:12]}, which an override names: {'; '.join(wrong)}")
        verify_statements(store, decision, context.trusted, context.anchored)
        policy = _digests(decision).get("policy")
        for gate in GATES:
            if policy is None or f"gate.{gate}" in named:
                continue
            if approval_checks(load_policy(store, policy), gate):
                raise GateRefusedError(
                    f"version {document['version']} of {document['pipeline']}: the {gate} gate asks for approval and "
                    "has not judged it; an override does not stand for another person's approval"
                )


def verify_earlier_gate(store: ObjectStore, champion: Decision, gate: str, context: Context) -> Decision:
    """The decision of an earlier gate that the champion gate's names; raises like `verify_decision_of`."""
    version, pipeline = champion["version"], champion["pipeline"]
    digest = _digests(champion).get(f"gate.{gate}")
    if digest is None:
        raise SecurityError(f"version {version} of {pipeline}: its champion decision names no {gate} gate")
    decision, _ = verified_decision(store, digest, context)
    what = f"decision {digest[:12]} of the {gate} gate of version {version} of {pipeline}"
    wrong = differences(
        decision, {"kind": "gate", "gate": gate, "pipeline": pipeline, "work_key": champion["work_key"]}
    )
    if decision.get("version") not in (None, version):
        wrong.append(f"version {decision.get('version')}, expected {version}")
    ours, theirs = _digests(decision), _digests(champion)
    wrong += differences(ours, {name: theirs[name] for name in SHARED if name in ours and name in theirs})
    if wrong:
        raise SecurityError(f"{what}: is about something else: {'; '.join(wrong)}")
    _require_pass(decision, what)
    verify_statements(store, decision, context.trusted, context.anchored)
    return decision


def _digests(decision: Decision) -> dict[str, str]:
    held = decision.get("digests")
    return held if isinstance(held, dict) else {}


def _require_pass(decision: Decision, what: str) -> None:
    if decision.get("verdict") != "pass":
        raise GateRefusedError(f"{what}: {decision.get('verdict')}; only `pass` moves a model")


def verify_entry(store: ObjectStore, entries: list[LedgerEntry], generation: int, context: Context) -> Decision:
    """The decision behind a ledger entry: signed, `pass`, and about what the entry promotes.

    `entries` is a verified chain, oldest first. Raises ``SecurityError``.
    """
    entry = entries[generation - 1]
    before = entries[generation - 2].version if generation > 1 else None
    try:
        if entry.action == "promote":
            return verify_decision_of(
                store,
                entry.decision,
                context,
                pipeline=entry.name,
                version=entry.version,
                work_key=entry.work_key,
                manifest=entry.manifest,
                champion_version=before,
                at_s=entry.at_s,
            )
        return verify_rollback(store, entries, generation, context)
    except GateRefusedError as error:  # genuine, but it promoted nothing
        raise SecurityError(f"generation {generation}: {error}") from error


def verify_rollback(store: ObjectStore, entries: list[LedgerEntry], generation: int, context: Context) -> Decision:
    """A rollback goes to bytes that were champion before."""
    entry = entries[generation - 1]
    before = entries[generation - 2].version if generation > 1 else None
    decision, _ = verified_decision(store, entry.decision, context)
    wrong = differences(
        decision,
        {
            "kind": "rollback",
            "pipeline": entry.name,
            "version": entry.version,
            "work_key": entry.work_key,
            "champion_version": before,
        },
    )
    if wrong:
        raise SecurityError(f"generation {generation}: its decision is about something else: {'; '.join(wrong)}")
    earlier = [(e.version, e.work_key, e.manifest) for e in entries[: generation - 1]]
    if (entry.version, entry.work_key, entry.manifest) not in earlier:
        raise SecurityError(f"generation {generation}: rolls back to version {entry.version}, which was never champion")
    return decision
