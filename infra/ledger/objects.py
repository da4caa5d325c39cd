"""The ledger over an object store: one conditional create per generation."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict
from typing import Literal

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.ledger import LedgerConflict, LedgerEntry
from mlratchet.models.ports.storage import ObjectExists, ObjectStore


def entry_key(name: str, generation: int) -> str:
    """Where a generation is published."""
    return f"ledger/{name}/{generation:08d}.json"


class ObjectLedger:
    """`ledger/<name>/<generation>.json`, each holding the digest of the one before."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def head(self, name: str) -> LedgerEntry | None:
        """See the port."""
        entries = self.entries(name)
        return entries[-1] if entries else None

    def entries(self, name: str) -> list[LedgerEntry]:
        """See the port."""
        entries: list[LedgerEntry] = []
        previous = ""
        for generation, info in enumerate(self._store.list(f"ledger/{name}/"), start=1):
            if info.key != entry_key(name, generation):
                raise SecurityError(
                    f"{self._store.bucket}/{info.key}: expected generation {generation}; an entry was removed"
                )
            data = self._store.get(info.key)
            entry = LedgerEntry(**json.loads(data))
            if entry.previous != previous or entry.generation != generation or entry.name != name:
                raise SecurityError(
                    f"{self._store.bucket}/{info.key}: does not follow the entry before it; it was changed"
                )
            previous = digest_bytes(data)
            entries.append(entry)
        return entries

    def append(
        self,
        name: str,
        *,
        action: Literal["promote", "rollback"],
        version: int,
        work_key: str,
        decision: str,
        manifest: str,
        actor: str,
        reason: str,
        now_s: float,
        expected_generation: int,
    ) -> LedgerEntry:
        """See the port."""
        held = self.entries(name)
        if len(held) != expected_generation:
            raise conflict(name, held[-1] if held else None, expected_generation)
        previous = digest_bytes(self._store.get(entry_key(name, len(held)))) if held else ""
        entry = LedgerEntry(
            name=name,
            generation=expected_generation + 1,
            action=action,
            version=version,
            work_key=work_key,
            decision=decision,
            manifest=manifest,
            actor=actor,
            reason=reason,
            at_s=now_s,
            previous=previous,
            token=uuid.uuid4().hex,
        )
        try:
            self._store.create(entry_key(name, entry.generation), canonical_json(asdict(entry)))
        except ObjectExists as exc:
            raise conflict(name, self.head(name), expected_generation) from exc
        return entry

    def at(self, name: str, when_s: float) -> LedgerEntry | None:
        """See the port."""
        earlier = [entry for entry in self.entries(name) if entry.at_s <= when_s]
        return earlier[-1] if earlier else None


def conflict(name: str, winner: LedgerEntry | None, expected_generation: int) -> LedgerConflict:
    """An error that says who won."""
    who = f"version {winner.version} by {winner.actor} (generation {winner.generation})" if winner else "nobody"
    return LedgerConflict(
        f"{name}: expected generation {expected_generation} to be the newest, but {who} is; run again"
    )
