"""The ledger over an object store: one conditional create per generation."""

from __future__ import annotations

import uuid
from dataclasses import asdict, dataclass
from typing import Literal

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.ledger.chain import Chain, Link, entry_key, parse_entry, sign_entry
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore, StorageError


@dataclass(frozen=True)
class _Read:
    """An entry that was read and verified before: its bytes are not read again while the ETag stays."""

    etag: str
    digest: str  # SHA-256 hex of the bytes
    entry: LedgerEntry


class ObjectLedger:
    """`ledger/<name>/<generation>.json`, each signed and holding the digest of the one before."""

    def __init__(self, store: ObjectStore, keys: Keys) -> None:
        self._store, self._keys = store, keys
        self._known: dict[str, list[_Read]] = {}
        self._believed: dict[str, tuple[str, str]] = {}  # head and public list that the signatures were held against

    def head(self, name: str) -> LedgerEntry | None:
        """See the port."""
        entries = self.entries(name)
        return entries[-1] if entries else None

    def entries(self, name: str) -> list[LedgerEntry]:
        """See the port."""
        return [read.entry for read in self._read(name)]

    def digests(self, name: str) -> list[str]:
        """See the port."""
        return [read.digest for read in self._read(name)]

    def _read(self, name: str) -> list[_Read]:
        known = self._known.get(name, [])
        chain: list[_Read] = []
        for generation, info in enumerate(self._store.list(f"ledger/{name}/"), start=1):
            if info.key != entry_key(name, generation):
                raise SecurityError(
                    f"{self._store.bucket}/{info.key}: expected generation {generation}; an entry was removed"
                )
            before = chain[-1].digest if chain else ""
            held = known[generation - 1] if generation <= len(known) else None
            if held is None or held.etag != info.etag or held.entry.previous != before:
                held = self._verified(name, generation, info, before)
            chain.append(held)
        self._known[name] = chain
        self._believe(name, chain)
        return chain

    def chain(self, name: str) -> Chain:
        """See the port."""
        return _chain(name, self._read(name))

    def _believe(self, name: str, read: list[_Read]) -> None:
        """Every signature by the public list as it stands now: a key may have been revoked since the last look."""
        if not read:
            return  # who has not promoted anything yet needs no list
        trusted = self._keys.trusted()
        held = (read[-1].digest, trusted.to_json())
        if self._believed.get(name) != held:
            _chain(name, read).verify(trusted)
            self._believed[name] = held

    def _verified(self, name: str, generation: int, info: ObjectInfo, before: str) -> _Read:
        data = self._store.get(info.key)
        entry = parse_entry(data, f"{self._store.bucket}/{info.key}")
        if entry.previous != before or entry.generation != generation or entry.name != name:
            raise SecurityError(f"{self._store.bucket}/{info.key}: does not follow the entry before it; it was changed")
        return _Read(info.etag, digest_bytes(data), entry)

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
        held = self._read(name)
        newest = held[-1].entry if held else None
        if len(held) != expected_generation:
            raise conflict(name, newest, expected_generation)
        unsigned = LedgerEntry(
            name=name,
            generation=expected_generation + 1,
            action=action,
            version=version,
            work_key=work_key,
            decision=decision,
            manifest=manifest,
            actor=actor,
            reason=reason,
            at_s=float(max(now_s, newest.at_s) if newest else now_s),
            previous=held[-1].digest if held else "",
            token=uuid.uuid4().hex,
            key_id="",
            signature="",
        )
        entry = sign_entry(unsigned, self._keys.signer())
        key, body = entry_key(name, entry.generation), canonical_json(asdict(entry))
        try:
            self._store.create(key, body)
        except StorageError as exc:
            # ObjectExists, or a failure whose reply hides a success: the bytes that stand say whose they are
            try:
                stands = self._store.get(key)
            except StorageError:
                raise exc from None
            if stands != body:
                raise conflict(name, self.head(name), expected_generation) from exc
        return entry

    def at(self, name: str, when_s: float) -> LedgerEntry | None:
        """See the port."""
        earlier = [entry for entry in self.entries(name) if entry.at_s <= when_s]
        return earlier[-1] if earlier else None


def _chain(name: str, read: list[_Read]) -> Chain:
    return Chain(name, [Link(one.entry, one.digest) for one in read])


def conflict(name: str, winner: LedgerEntry | None, expected_generation: int) -> LedgerConflict:
    """An error that says who won."""
    who = f"version {winner.version} by {winner.actor} (generation {winner.generation})" if winner else "nobody"
    return LedgerConflict(
        f"{name}: expected generation {expected_generation} to be the newest, but {who} is; run again"
    )
