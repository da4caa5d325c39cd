"""Promote by hand: a version whose gates passed against today's champion takes its place."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from typing import Any

from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.gates.names import GATES
from mlratchet.models.promotion.change import change_champion
from mlratchet.models.promotion.move import refuse_cut_ledger
from mlratchet.tasks.actions.rejudge import with_answers
from mlratchet.tasks.support.holds import hold_book
from mlratchet.tasks.support.versions import decisions_of, in_words, registration_of, verify_promotable
from mlratchet.tasks.wiring import Adapters


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
    for gate in GATES:
        if gate not in newest or newest[gate][1]["verdict"] != "pass":
            said = in_words(newest[gate][1]) if gate in newest else "not judged"
            raise GateRefusedError(
                f"version {version} of {pipeline}: {gate} gate: {said}; only `pass` moves a model; "
                f"see `ratchet decision {pipeline} {version}`"
            )
    digest, judged = newest["champion"]
    serving = head.version if head else None
    if judged["champion_version"] != serving:
        against = judged["champion_version"]
        compared = f"was compared with version {against}" if against is not None else "was judged without a champion"
        was_champion = any(entry.version == version for entry in adapters.ledger.entries(pipeline))
        way = f"`ratchet rollback {pipeline} --to {version}` goes back to it" if was_champion else (
            f"`ratchet run {pipeline}` judges it again"
        )  # fmt: skip
        raise GateRefusedError(f"version {version} of {pipeline} {compared}, but version {serving} serves now; {way}")

    def judged_before() -> str:
        verify_promotable(adapters, record, digest, champion_version=serving)
        return digest

    change = change_champion(
        adapters.ledger,
        adapters.registry,
        record,
        holds=hold_book(adapters),
        authorise=judged_before,
        over_generation=head.generation if head else 0,
        actor=getpass.getuser(),
        reason="promoted by hand",
    )
    return asdict(change.entry)
