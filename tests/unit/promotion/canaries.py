"""A version in its canary, in memory: staged by a real decision, beside the champion of a real ledger."""

from __future__ import annotations

from typing import Any

from mlratchet.models.decisions.signature import publish_decision
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.promotion.canary.chain import publish_canary
from mlratchet.models.promotion.canary.decision import end_of_canary
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.registration.record import Registration

from tests.unit.audit.conftest import World

HOUR = 3600.0


class Canary:
    """Version `version` of a world, which passed staging against the champion of then."""

    def __init__(self, world: World, version: int = 4) -> None:
        self.world = world
        self.record: Registration = world.register(version)
        self.champion = world.ledger.entries("digits")[-1].version
        self.staging = self.staged()
        self.began_s = world.now_s

    @property
    def store(self) -> RecordStore:
        """As who has the key sees the bucket."""
        return RecordStore(self.world.store, self.world.keys, now=lambda: self.world.now_s)

    def staged(self, champion: int | None = None, gate: str = "staging", **digests: str) -> str:
        """A decision of a gate about the version."""
        judged = {"manifest": self.record.manifest_digest, "registration": self.record.digest(), **digests}
        return self.world.judge(gate, self.record, champion or self.champion, **judged)

    def entry(self, number: int, previous: str, phase: str, **more: Any) -> CanaryEntry:
        """One under the ledger's head."""
        head = self.world.ledger.chain("digits").head
        assert head is not None
        facts: dict[str, Any] = {
            "name": "digits", "number": number, "previous": previous, "phase": phase, "version": self.record.version,
            "work_key": self.record.work_key, "manifest": self.record.manifest_digest, "staging": self.staging,
            "share": 0.25 if phase in ("share", "settled") else 0.0, "generation": head.entry.generation,
            "head": head.digest, "run": "run", "began_s": self.began_s, "at_s": self.world.now_s,
            "expires_s": self.began_s + 2 * HOUR, "maximum_hours": 2.0, "actor": "ada", "reason": "why",
            "outcome": {"settled": "pass", "ended": "fail"}.get(phase),
            "decision": "d" * 64 if phase == "ended" else "",
        }  # fmt: skip
        return CanaryEntry(**(facts | more))

    def put(self, phase: str, **more: Any) -> CanaryEntry:
        """Add an entry to the chain."""
        self.world.now_s += 1.0
        return publish_canary(
            self.store, "digits", lambda number, previous: self.entry(number, previous, phase, **more)
        )

    def pull_back(self) -> CanaryEntry:
        """By a signed decision."""
        entry = self.put("share")
        document = end_of_canary(
            entry, champion=self.champion, outcome="fail", reason="why", actor="ada", at_s=self.world.now_s
        )
        digest = publish_decision(self.world.store, document, self.world.keys.signer())
        return self.put("ended", decision=digest)
