"""Begin, move on and end a canary: each is one entry of the chain, and an end is a signed decision first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.errors import GateRefusedError, SecurityError
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.gates.result import CheckResult
from mlratchet.models.identity.keys import Keys
from mlratchet.models.identity.signed_chain import Seen
from mlratchet.models.ledger.chain import Link
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.canary.chain import last_of_ours, newest_canary, publish_canary
from mlratchet.models.promotion.canary.config import CanaryConfig
from mlratchet.models.promotion.canary.decision import end_of_canary
from mlratchet.models.promotion.canary.entry import CanaryEntry, Outcome
from mlratchet.models.promotion.canary.evidence import freeze_live
from mlratchet.models.registration.record import Registration


@dataclass(frozen=True, kw_only=True)
class CanaryChain:
    """The canary of one pipeline, for a process with its key."""

    name: str
    store: ObjectStore  # a `RecordStore` that signs
    keys: Keys
    seen: Callable[[], Seen]
    remember: Callable[[int, str], None]
    """Keep number and digest of the newest entry outside the bucket."""

    def newest(self) -> CanaryEntry | None:
        """Raises ``SecurityError`` where it cannot be relied on; see `newest_canary`."""
        found = newest_canary(self.store, self.name, seen=self.seen())
        if found is not None:
            self.remember(found.number, found.digest())
        return found

    def add(self, make: Callable[[int, str], CanaryEntry], *, at: int) -> CanaryEntry:
        """See `publish_canary`."""
        made = publish_canary(self.store, self.name, make, at=at, seen=self.seen())
        self.remember(made.number, made.digest())
        return made

    def begin(
        self,
        canary: CanaryConfig,
        record: Registration,
        head: Link,
        *,
        staging: str,
        run: str,
        actor: str,
        now_s: float,
        after: CanaryEntry | None,
    ) -> CanaryEntry:
        """The shadow, or the first share where none is declared. `staging`: digest of its decision; `after`: the newest
        entry, as the caller has seen it."""
        in_shadow = canary.shadow_requests > 0

        def first(number: int, previous: str) -> CanaryEntry:
            return CanaryEntry(
                name=self.name,
                number=number,
                previous=previous,
                phase="shadow" if in_shadow else "share",
                version=record.version,
                work_key=record.work_key,
                manifest=record.manifest_digest,
                staging=staging,
                share=0.0 if in_shadow else canary.steps[0],
                generation=head.entry.generation,
                head=head.digest,
                run=run,
                began_s=now_s,
                at_s=now_s,
                expires_s=now_s + canary.maximum_s,
                maximum_hours=canary.maximum_hours,
                actor=actor,
                reason=f"the staging gate passed (decision {staging[:12]})",
            )

        return self.add(first, at=after.number if after is not None else 0)

    def give_share(self, entry: CanaryEntry, canary: CanaryConfig, step: int, why: str, *, now_s: float) -> CanaryEntry:
        """The next share of the clients."""
        return self._next(entry, now_s, phase="share", share=canary.steps[step], step=step, reason=why)

    def hand_over(self, entry: CanaryEntry, run: str, *, now_s: float) -> CanaryEntry:
        """To another run of the same work: the one that watched it is gone."""
        return self._next(entry, now_s, run=run, reason=f"run {entry.run} is gone, run {run} watches")

    def settle(self, entry: CanaryEntry, live: LiveEvidence, why: str, *, now_s: float) -> CanaryEntry:
        """It was watched long enough; it keeps its share until the ledger decides."""
        digest = freeze_live(self.store, live)
        return self._next(entry, now_s, phase="settled", reason=why, evidence=digest, outcome="pass")

    def end(
        self,
        entry: CanaryEntry,
        outcome: Outcome,
        why: str,
        *,
        champion: int | None,
        actor: str,
        now_s: float,
        live: LiveEvidence | None = None,
        results: Sequence[CheckResult] = (),
    ) -> CanaryEntry:
        """By a decision, and at once: nothing else of the run has to be done for it. `champion`: who serves. One that
        fails without evidence has none: what it showed before speaks for it."""
        kept = entry.evidence if outcome != "fail" else ""
        evidence = freeze_live(self.store, live) if live is not None else kept
        document = end_of_canary(
            entry, champion=champion, outcome=outcome, reason=why[:1000], actor=actor, at_s=now_s, results=results,
            digests={"live": evidence} if evidence else {},
        )  # fmt: skip
        decision = publish_decision(self.store, document, self.keys.signer())
        return self._next(
            entry, now_s, phase="ended", share=0.0, reason=why[:1000], actor=actor, evidence=evidence, outcome=outcome,
            decision=decision,
        )  # fmt: skip

    def end_whatever(self, why: str, *, champion: int | None, actor: str, now_s: float) -> CanaryEntry:
        """End the canary though its chain was changed: an entry of ours follows the last one that is ours.

        Raises ``GateRefusedError`` where none is, ``SecurityError`` for what cannot be written over.
        """
        last = last_of_ours(self.store, self.name)
        if last is None:
            raise GateRefusedError(f"{self.name} has no canary to stop")
        return self.end(last, "fail", why, champion=champion, actor=actor, now_s=now_s)

    def _next(self, entry: CanaryEntry, now_s: float, **change: object) -> CanaryEntry:
        moment = max(now_s, entry.at_s)  # a clock that is behind never goes back

        def following(number: int, previous: str) -> CanaryEntry:
            facts = entry.model_dump() | change | {"number": number, "previous": previous, "at_s": moment}
            return CanaryEntry.model_validate(facts)

        return self.add(following, at=entry.number)


def refuse_other_canary(entry: CanaryEntry, record: Registration) -> None:
    """Raises ``GateRefusedError`` while another version is in its canary: clients are divided between two at most."""
    if entry.work_key != record.work_key:
        raise GateRefusedError(
            f"version {entry.version} of {entry.name} is in its canary (run {entry.run}), so version {record.version} "
            f"has none now; wait for it, or end it: `ratchet canary {entry.name} --stop --reason ...`"
        )
    if entry.manifest != record.manifest_digest:
        raise SecurityError(f"the canary of {entry.name} is of other bytes than version {record.version} has")
