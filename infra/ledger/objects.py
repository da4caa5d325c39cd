"""The ledger over an object store: one conditional create per generation."""

from __future__ import annotations

import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal

from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.keys import Keys
from mlratchet.models.ledger.chain import Chain, Link, entry_key, read_tail, sign_entry
from mlratchet.models.ledger.entry import LedgerConflict, LedgerEntry
from mlratchet.models.ledger.notice import give_notice
from mlratchet.models.ledger.remembered import (
    RememberedHead,
    believed_head,
    digest_of_list,
    links_behind,
    sign_head,
    write_head,
)
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore, StorageError


@dataclass(frozen=True)
class _Known:
    """What was verified before, from which on the bucket is read."""

    links: list[Link]
    etag: str  # of the newest entry as this process saw it; "" when it did not
    trusted: str  # which public list the signatures were verified by
    remembered: bool  # by a signed head of the installation, not by this process alone


class ObjectLedger:
    """`ledger/<name>/<generation>.json`, each signed and holding the digest of the one before.

    What was verified once, by this process or as a remembered head says, is not read again; the newest entry of it must
    still be there. An older entry that is changed afterwards changes nothing that is believed: an audit finds it.
    """

    def __init__(self, store: ObjectStore, keys: Keys, heads: HeadFiles | None = None) -> None:
        self._store, self._keys, self._heads = store, keys, heads
        self._known: dict[str, _Known] = {}

    @property
    def heads(self) -> HeadFiles | None:
        """Where the installation remembers, outside the bucket."""
        return self._heads

    def head(self, name: str) -> LedgerEntry | None:
        """See the port."""
        entries = self.entries(name)
        return entries[-1] if entries else None

    def entries(self, name: str) -> list[LedgerEntry]:
        """See the port."""
        return [link.entry for link in self._read(name)]

    def digests(self, name: str) -> list[str]:
        """See the port."""
        return [link.digest for link in self._read(name)]

    def chain(self, name: str) -> Chain:
        """See the port."""
        return Chain(name, self._read(name))

    def _read(self, name: str) -> list[Link]:
        """Every link, verified by the public list as it stands now: a key may have been revoked since the last look."""
        known = self._known.get(name) or self._recalled(name)
        listed = [] if known is None else self._tail(name, known)
        if listed is None:  # what this process saw is gone: the whole bucket tells why, or that it became shorter
            known = None
        if known is None:
            listed = list(self._store.list(f"ledger/{name}/"))
            known = _Known([], "", "", remembered=False)
        if not listed:
            self._known.pop(name, None)
            return []  # who has not promoted anything yet needs no list
        return self._verified(name, known, listed)

    def _tail(self, name: str, known: _Known) -> list[ObjectInfo] | None:
        """The newest entry that is known, and what came after; None when it is not there as it was.

        Raises ``SecurityError`` when the installation remembers it.
        """
        head = known.links[-1]
        key = entry_key(name, head.entry.generation)
        found = list(self._store.list(f"ledger/{name}/", after=entry_key(name, head.entry.generation - 1)))
        stands = bool(found) and found[0].key == key
        if stands and (found[0].etag == known.etag or digest_bytes(self._store.get(key)) == head.digest):
            return found
        if known.remembered and self._heads is not None:
            raise SecurityError(
                f"{self._store.bucket}/{key}: {'was changed' if stands else 'is gone'}; this installation verified it "
                f"as {head.digest[:12]}: the ledger's tail was cut or rewritten; restore ledger/{name}/ from a copy of "
                f"the bucket, or remove {self._heads.path(name, 'chain')} if this is meant to be another ledger"
            )
        return None

    def _verified(self, name: str, known: _Known, listed: list[ObjectInfo]) -> list[Link]:
        held = len(known.links)
        links, problem = read_tail(self._store, name, known.links, listed[1:] if held else listed)
        if problem is not None:
            raise problem
        trusted = self._keys.trusted()
        which = digest_of_list(trusted)
        if which != known.trusted or len(links) > held:
            Chain(name, links).verify(trusted, after=held if which == known.trusted else 0)
            remembered = self._remember(name, links, which)
        else:
            remembered = known.remembered
        self._known[name] = _Known(links, listed[-1].etag, which, remembered)
        return links

    def _recalled(self, name: str) -> _Known | None:
        """What the installation remembers, as far as it is genuine and the list of keys is still the same."""
        data = self._heads.read(name, "chain") if self._heads is not None else None
        if data is None or self._heads is None:
            return None
        head = believed_head(data, self._keys.trusted(), verified="chain", where=self._heads.where, name=name)
        links = links_behind(head, data) if head is not None else None
        return _Known(links, "", head.trusted, remembered=True) if head is not None and links is not None else None

    def _remember(self, name: str, links: list[Link], trusted: str) -> bool:
        """Sign the newest entry and keep it; False for who holds no key, which is no reason to fail."""
        if self._heads is None or not self._heads.writes:
            return False
        head = RememberedHead(
            verified="chain",
            where=self._heads.where,
            name=name,
            generation=len(links),
            digest=links[-1].digest,
            trusted=trusted,
            at_s=time.time(),
        )
        with suppress(RatchetError):
            self._heads.keep(name, "chain", write_head(sign_head(head, self._keys.signer()), links))
            return True
        return False

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
        give_notice(self._store, name, "ledger", digest_bytes(body))
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
