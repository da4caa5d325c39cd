"""Audit: how every champion came to serve, verified from a bucket that may be read only and the public keys alone.

Everything hangs on the ledger: an entry names a decision and a manifest by digest, the champion gate's decision names
the earlier gates' decisions, and each decision names its policy, its evidence and the rows behind it. What is not
reachable from the ledger moved nothing; it is verified too, and what cannot be is a note.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlratchet.models.audit.artifacts import read_manifest, read_registration, verify_bytes
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.decisions.document import Decision
from mlratchet.models.decisions.judge_again import load_policy, replay
from mlratchet.models.decisions.signature import Context, parse_decision, verified_decision
from mlratchet.models.decisions.stored_evidence import thaw
from mlratchet.models.errors import InfrastructureError, RatchetError, SecurityError
from mlratchet.models.gates.names import EARLIER_GATES
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import Chain, Link, ledger_names, read_links
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.pipeline.loading import hint_at
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.promotion.registered import refuse_changed_registration
from mlratchet.models.promotion.verify import verify_earlier_gate, verify_entry

DECISION = re.compile(r"^decisions/(?P<digest>[0-9a-f]{64})\.json$")


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How much is read."""

    files: bool = True  # hash every byte of every artifact that was champion
    replay: bool = False  # judge every promoted version again from the stored evidence


class Audit:
    """One pass over the bucket."""

    def __init__(
        self,
        store: ObjectStore,
        open_bucket: Callable[[str], ObjectStore],
        trusted: TrustedKeys,
        name: str,
        *,
        depth: Depth = Depth(),
    ) -> None:
        self._store, self._open_bucket, self._trusted, self._depth = store, open_bucket, trusted, depth
        self._verified: dict[str, Decision] = {}  # by digest
        self._seen: set[str] = set()  # versions and manifests whose bytes were looked at
        self.report = AuditReport(name=name, bucket=store.bucket)

    def run(self, *, known_heads: dict[str, str] | None = None) -> AuditReport:
        """The whole audit. `known_heads`: who remembers a head -> its digest; each must be in the chain.

        Raises ``InfrastructureError`` when the bucket cannot be read; everything else is in the report.
        """
        report = self.report
        links, problem = read_links(self._store, report.name)
        chain = Chain(report.name, links)
        report.generations, report.head = len(links), links[-1].digest if links else ""
        report.champion = links[-1].entry.version if links else None
        if problem is not None:
            report.problems.append(str(problem))
        elif not links:
            # an auditor cannot tell a name that never was from a history that somebody removed: both fail
            report.problems.append(
                f"ledger/{report.name}/ in {self._store.bucket} is empty: never promoted, or everything was removed; "
                f"{hint_at(report.name, sorted(ledger_names(self._store)))}"
            )
        self._keep(lambda: chain.verify(self._trusted))
        for who, digest in (known_heads or {}).items():
            self._keep(lambda who=who, digest=digest: refuse_cut(chain, who, digest))  # type: ignore[misc]
        for link in links:
            self._generation(chain, link)
        self._others()
        report.decisions = len(self._verified)
        return report

    def _keep(self, check: Callable[[], Any]) -> Any:
        """Run one check; what it says goes into the report."""
        try:
            return check()
        except ObjectNotFound as error:
            self.report.problems.append(f"{error}; it was removed")
        except InfrastructureError:
            raise  # the bucket does not answer: that is no finding
        except RatchetError as error:
            if str(error) not in self.report.problems:
                self.report.problems.append(str(error))
        return None

    def _generation(self, chain: Chain, link: Link) -> None:
        entry = link.entry
        entries = [one.entry for one in chain.links]
        context = Context(self._trusted, chain, entry.generation)
        decision = self._keep(lambda: verify_entry(self._store, entries, entry.generation, context))
        if decision is not None:
            self._verified[entry.decision] = decision
            if decision["kind"] == "gate":
                self._gates(decision, context)
        if entry.version not in self.report.versions:
            self.report.versions.append(entry.version)
        self._keep(lambda: self._artifact(entry, entries))

    def _gates(self, champion: Decision, context: Context) -> None:
        self._keep(lambda: self._evidence(champion))
        for gate in EARLIER_GATES:
            earlier = self._keep(lambda gate=gate: verify_earlier_gate(self._store, champion, gate, context))  # type: ignore[misc]
            if earlier is not None:
                self._verified[champion["digests"][f"gate.{gate}"]] = earlier
                self._keep(lambda earlier=earlier: self._evidence(earlier))  # type: ignore[misc]

    def _artifact(self, entry: LedgerEntry, entries: list[LedgerEntry]) -> None:
        if entry.manifest in self._seen:
            return
        self._seen.add(entry.manifest)
        record = read_registration(self._store, entry)
        refuse_changed_registration(self._store, record, entries)
        manifest = read_manifest(self._store, entry)
        if not self._depth.files:
            return
        files = verify_bytes(self._open_bucket, record, manifest)
        self.report.files += files
        if files == 0 and entry.version == self.report.champion:
            raise SecurityError(f"version {entry.version} is champion and its files are gone: {record.source_uri}")
        if files == 0:
            self.report.retired.append(entry.version)

    def _evidence(self, decision: Decision, *, moved: bool = True) -> None:
        """Policy, evidence and rows are there, whole. What `moved` something is judged again where that is asked."""
        digests, gate = decision["digests"], decision["gate"]
        what = f"{gate} gate of version {decision['version'] or decision['work_key'][:12]}"
        missing = {"policy", "evidence"} - set(digests)
        if missing:
            raise SecurityError(f"{what}: its decision names no {' and no '.join(sorted(missing))}")
        load_policy(self._store, digests["policy"])
        thaw(self._store, digests["evidence"])
        if self._depth.replay and moved:
            again = replay(self._store, decision)
            self.report.replayed += 1
            if again.problems:
                raise SecurityError(f"{what}: judged again: {again.problem}")

    def _others(self) -> None:
        """Decisions that no ledger entry rests on: they moved nothing."""
        unsigned = 0
        for info in self._store.list("decisions/"):
            match = DECISION.match(info.key)
            if match is None:
                self.report.notes.append(f"{self._store.bucket}/{info.key} is not a decision's name")
                continue
            digest = match["digest"]
            if digest in self._verified:
                continue
            decision = self._keep(lambda d=digest, k=info.key: parse_decision(self._store.get(k, sha256=d), k))  # type: ignore[misc]
            if decision is None or decision.get("pipeline") != self.report.name:
                continue
            try:
                self._verified[digest], _ = verified_decision(self._store, digest, Context(self._trusted))
            except SecurityError:
                unsigned += 1
                continue
            if decision["kind"] == "gate":
                self._keep(lambda one=decision: self._evidence(one, moved=False))  # type: ignore[misc]
        if unsigned:
            self.report.notes.append(
                f"{unsigned} decisions that promoted nothing have no signature that is believed today: a run that was "
                "cut off, or a key that was revoked"
            )


def refuse_cut(chain: Chain, who: str, digest: str) -> None:
    """Raises ``SecurityError`` when a head that somebody remembers is not in the chain."""
    if digest not in [link.digest for link in chain.links]:
        raise SecurityError(
            f"ledger/{chain.name}: the head that {who} remembers, {digest[:12]}, is not among its {len(chain.links)} "
            "entries: its newest entries were removed or rewritten"
        )
