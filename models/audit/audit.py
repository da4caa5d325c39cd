"""Audit: how every champion came to serve, verified from a bucket that may be read only and the public keys alone.

Everything hangs on the ledger: an entry names a decision and a manifest by digest, the champion gate's decision names
the earlier gates' decisions, and each decision names its policy, its evidence and the rows behind it. What is not
reachable from the ledger moved nothing; it is verified too, and what cannot be is a note.

Generations are looked at side by side, because most of the time is waiting for the store; memory holds a few dozen of
them, however many there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from mlratchet.models.audit.beside import beside
from mlratchet.models.audit.canaries import audit_canaries
from mlratchet.models.audit.ends import chain_ends, cut_ends
from mlratchet.models.audit.generation import Behind, Depth, Findings, evidence_stands
from mlratchet.models.audit.inference_log import log_findings
from mlratchet.models.audit.read_once import ReadOnce, SharedReads
from mlratchet.models.audit.report import AuditReport
from mlratchet.models.decisions.signature import Context, parse_decision, verified_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.erasures import erased_objects
from mlratchet.models.identity.keys import PublicKeys
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.identity.signing import TrustedKeys
from mlratchet.models.ledger.chain import Chain, ledger_names, read_links
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.remembered import RememberedHead
from mlratchet.models.nearest import nearest_hint
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

DECISION = re.compile(r"^decisions/(?P<digest>[0-9a-f]{64})\.json$")
THE_LAST_AUDIT = "the last clean audit"
WHOLE = Depth()
CLOCKS_S = 60.0  # by which the clocks of one store's servers may differ


class Audit:
    """One pass over the bucket."""

    def __init__(
        self,
        store: ObjectStore,
        open_bucket: Callable[[str], ObjectStore],
        trusted: TrustedKeys,
        name: str,
        *,
        depth: Depth = WHOLE,
    ) -> None:
        self._store, self._open_bucket, self._trusted, self._depth = store, open_bucket, trusted, depth
        self._verified: set[str] = set()  # digests of decisions
        self._named: set[str] = set()  # of those that an entry rests on, whether they verify or not
        self._shared = SharedReads()
        self.report = AuditReport(name=name, bucket=store.bucket)

    def run(
        self, *, known_heads: dict[str, str] | None = None, since: RememberedHead | None = None,
        ends: Mapping[str, str] | None = None,
    ) -> AuditReport:  # fmt: skip
        """The audit.

        Args:
            known_heads: Who remembers a head -> its digest; each must be in the chain.
            since: A head that is believed: what is behind it was verified by the audit that signed it. The entries are
                all read and verified again; behind them only what is newer is looked at, and always the newest.

            ends: What the last clean audit saw at the end of every other chain.

        Raises ``InfrastructureError`` when the bucket cannot be read; everything else is in the report.
        """
        report = self.report
        links, problem = read_links(self._store, report.name)
        chain = Chain(report.name, links)
        report.generations, report.head = len(links), links[-1].digest if links else ""
        report.champion = links[-1].entry.version if links else None
        first = Findings()
        if problem is not None:
            first.problems.append(str(problem))
        elif not links:
            # an auditor cannot tell a name that never was from a history that somebody removed: both fail
            first.problems.append(
                f"ledger/{report.name}/ in {self._store.bucket} is empty: never promoted, or everything was removed; "
                f"{nearest_hint(report.name, sorted(ledger_names(self._store)))}"
            )
        first.keep(lambda: chain.verify(self._trusted))
        heads = dict(known_heads or {}) | ({THE_LAST_AUDIT: since.digest} if since is not None else {})
        for who, digest in heads.items():
            first.keep(lambda who=who, digest=digest: refuse_cut(chain, who, digest))  # type: ignore[misc]
        report.add(first)
        report.versions = list(dict.fromkeys(link.entry.version for link in links))
        after = since.generation if since is not None and stands_in(chain, since) else 0
        self._generations(chain, after)
        self._others(since.decisions_s - CLOCKS_S if after and since is not None else 0.0)
        promoted_s = {link.entry.work_key: link.written_s or 0.0 for link in links}  # the newest of each
        problems, notes = beside(self._store, self._trusted, report.name, promoted_s)
        canary_problems, canary_notes = audit_canaries(self._store, self._trusted, chain)
        log_problems, log_notes = log_findings(self._store, self._trusted, report.name, files=self._depth.files)
        found = (*problems, *canary_problems, *log_problems)
        report.problems += [line for line in found if line not in report.problems]
        report.notes += [line for line in (*notes, *canary_notes, *log_notes) if line not in report.problems]
        self._tell_erased()
        report.problems += cut_ends(self._store, self._trusted, report.name, ends or {})
        report.ends = chain_ends(self._store, self._trusted, report.name)
        if after and since is not None:
            report.skipped(after, since.at_s)
        report.decisions = len(self._verified)
        return report

    def _tell_erased(self) -> None:
        try:
            erased = erased_objects(RecordStore(self._store, PublicKeys(self._trusted)))
            named = {place: erased[place] for place in self.report.erased_in(erased)}
            self.report.tell_erased({place: record for place, record in named.items() if not self._lies_at(place)})
        except (SecurityError, ObjectNotFound) as error:
            self.report.problems.append(str(error))

    def _lies_at(self, place: str) -> bool:
        """Whether something is there again: whoever put it there, it is not what was erased."""
        bucket, _, key = place.partition("/")
        return self._open_bucket(bucket).exists(key)

    def _generations(self, chain: Chain, after: int) -> None:
        for found in side_by_side(Behind.look, self._pieces(chain, after)):
            self.report.add(found)
            self._verified |= found.decisions
            self._named |= found.named

    def _pieces(self, chain: Chain, after: int) -> Iterator[Behind]:
        """What is behind every entry later than generation `after`, and behind the newest whatever it is."""
        entries = [link.entry for link in chain.links]
        by_work: dict[str, list[LedgerEntry]] = {}
        for entry in entries:
            by_work.setdefault(entry.work_key, []).append(entry)
        seen: set[str] = set()  # manifests
        for entry in entries[min(after, max(len(entries) - 1, 0)) :]:
            yield Behind(
                store=ReadOnce(self._store, self._shared),
                open_bucket=self._open_bucket,
                entries=entries,
                generation=entry.generation,
                context=Context(self._trusted, chain, entry.generation),
                depth=self._depth,
                artifact=entry.manifest not in seen,
                promotions=by_work[entry.work_key],
            )
            seen.add(entry.manifest)

    def _others(self, since_s: float) -> None:
        """Decisions that no ledger entry rests on: they moved nothing. Those written before `since_s` by the server's
        clock were looked at by an earlier audit."""
        unsigned = 0
        for found in side_by_side(self._other, self._unreached(since_s)):
            self.report.add(found)
            self._verified |= found.decisions
            unsigned += found.unsigned
        if unsigned:
            what = (
                "1 decision that promoted nothing has"
                if unsigned == 1
                else f"{unsigned} decisions that promoted nothing have"
            )
            self.report.notes.append(
                f"{what} no signature that is believed today: a run that was cut off, or a key that was revoked"
            )

    def _unreached(self, since_s: float) -> Iterator[tuple[str, str]]:
        """Key and digest."""
        reached = frozenset(self._verified)
        for info in self._store.list("decisions/"):
            match = DECISION.match(info.key)
            if match is None:
                self.report.notes.append(f"{self._store.bucket}/{info.key} is not a decision's name")
                continue
            self.report.newest_decision_s = max(self.report.newest_decision_s, info.modified_s)
            if match["digest"] not in reached and info.modified_s >= since_s:
                yield info.key, match["digest"]

    def _other(self, one: tuple[str, str]) -> Findings:
        (key, digest), found = one, Findings()
        store = ReadOnce(self._store, self._shared)
        decision = found.keep(lambda: parse_decision(store.get(key, sha256=digest), key))
        if decision is None or decision.get("pipeline") != self.report.name:
            return found
        try:
            verified_decision(store, digest, Context(self._trusted))
        except SecurityError:
            found.unsigned += digest not in self._named  # else it is told with its entry
            return found
        found.decisions.add(digest)
        if decision["kind"] == "gate":
            found.keep(lambda: evidence_stands(store, decision, again=False, found=found))
        return found


def stands_in(chain: Chain, head: RememberedHead) -> bool:
    """Whether a remembered head is the entry of its generation."""
    return head.generation <= len(chain.links) and chain.links[head.generation - 1].digest == head.digest


def refuse_cut(chain: Chain, who: str, digest: str) -> None:
    """Raises ``SecurityError`` when a head that somebody remembers is not in the chain."""
    if digest not in [link.digest for link in chain.links]:
        raise SecurityError(
            f"ledger/{chain.name}: the head that {who} remembers, {digest[:12]}, is not among its {len(chain.links)} "
            "entries: its newest entries were removed or rewritten"
        )
