"""Everything behind one ledger entry: its decisions, their evidence, the registration and the artifact's bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from mlratchet.models.audit.artifacts import read_manifest, read_registration, verify_bytes
from mlratchet.models.decisions.decision import load_decision
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.judge_again import load_policy, replay
from mlratchet.models.decisions.signature import Context
from mlratchet.models.decisions.stored_evidence import thaw
from mlratchet.models.errors import InfrastructureError, RatchetError, SecurityError
from mlratchet.models.gates.names import EARLIER_GATES
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.promotion.verify import verify_earlier_gate, verify_entry


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How much is read."""

    files: bool = True  # hash every byte of every artifact that was champion
    replay: bool = False  # judge every promoted version again from the stored evidence


@dataclass(kw_only=True)
class Findings:
    """Of one piece of an audit; pieces are looked at side by side and told in order."""

    problems: list[str] = field(default_factory=list)
    decisions: set[str] = field(default_factory=set)  # digests, signature and digest verified
    named: set[str] = field(
        default_factory=set
    )  # digests of decisions that the entry rests on, whether they verify or not
    files: int = 0
    replayed: int = 0
    retired: list[int] = field(default_factory=list)
    unsigned: int = 0  # decisions whose signature nobody believes today

    def keep(self, check: Callable[[], Any]) -> Any:
        """Run one check; what it says is a problem. A bucket that does not answer is no finding and is raised."""
        try:
            return check()
        except ObjectNotFound as error:
            self.problems.append(f"{error}; it was removed")
        except InfrastructureError:
            raise
        except RatchetError as error:
            self.problems.append(str(error))
        return None


def evidence_stands(store: ObjectStore, decision: Decision, *, again: bool, found: Findings) -> None:
    """Policy, evidence and rows are there, whole; with `again` they are judged once more. Raises ``SecurityError``."""
    digests, gate = decision["digests"], decision["gate"]
    what = f"{gate} gate of version {decision['version'] or decision['work_key'][:12]}"
    missing = {"policy", "evidence"} - set(digests)
    if missing:
        raise SecurityError(f"{what}: its decision names no {' and no '.join(sorted(missing))}")
    load_policy(store, digests["policy"])
    thaw(store, digests["evidence"])
    if again:
        judged = replay(store, decision)
        found.replayed += 1
        if judged.problems:
            raise SecurityError(f"{what}: judged again: {judged.problem}")


@dataclass(frozen=True, kw_only=True)
class Behind:
    """One generation of a chain."""

    store: ObjectStore
    open_bucket: Callable[[str], ObjectStore]
    entries: list[LedgerEntry]  # of the whole chain, oldest first
    generation: int
    context: Context
    depth: Depth
    artifact: bool  # whether this is the first entry about these bytes
    promotions: Sequence[LedgerEntry] = ()  # every entry about the same work

    def look(self) -> Findings:
        """Everything behind the entry."""
        found = Findings()
        entry = self.entries[self.generation - 1]
        found.named |= self._rests_on(entry.decision)
        decision = found.keep(lambda: verify_entry(self.store, self.entries, self.generation, self.context))
        if decision is not None:
            found.decisions.add(entry.decision)
            if decision["kind"] == "gate":
                self._gates(decision, found)
        if self.artifact:
            found.keep(lambda: self._artifact(entry, found))
        return found

    def _rests_on(self, digest: str) -> set[str]:
        """Digests of an entry's decision and of those that it names, also where a signature does not verify."""
        with suppress(SecurityError):
            named = load_decision(self.store, digest).get("digests") or {}
            return {digest, *(one for name, one in named.items() if name.startswith("gate."))}
        return {digest}

    def _gates(self, champion: Decision, found: Findings) -> None:
        again = self.depth.replay
        found.keep(lambda: evidence_stands(self.store, champion, again=again, found=found))
        for gate in EARLIER_GATES:
            earlier = found.keep(lambda gate=gate: verify_earlier_gate(self.store, champion, gate, self.context))  # type: ignore[misc]
            if earlier is not None:
                found.decisions.add(champion["digests"][f"gate.{gate}"])
                found.keep(lambda earlier=earlier: evidence_stands(self.store, earlier, again=again, found=found))  # type: ignore[misc]

    def _artifact(self, entry: LedgerEntry, found: Findings) -> None:
        record = read_registration(self.store, entry)
        refuse_changed_registration(self.store, record, self.promotions)
        manifest = read_manifest(self.store, entry)
        if not self.depth.files:
            return
        files = verify_bytes(self.open_bucket, record, manifest)
        found.files += files
        if files == 0 and entry.version == self.entries[-1].version:
            raise SecurityError(f"version {entry.version} is champion and its files are gone: {record.source_uri}")
        if files == 0:
            found.retired.append(entry.version)
