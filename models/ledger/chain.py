"""The chain: the ledger's entries as a verifier reads them, from a bucket that anybody may have written to.

Every entry holds the digest of the one before and is signed, so that an entry cannot be changed, moved, left out or
invented without the pipeline's key. What a chain alone cannot show is that its newest entries were removed; for that
its head is kept elsewhere (MLflow, the public list at a revocation, an auditor's notes).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Anchor, Anchored, DetachedSignature, Signer, TrustedKeys
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore
from pydantic import TypeAdapter, ValidationError

_ENTRY = TypeAdapter(LedgerEntry)


def entry_key(name: str, generation: int) -> str:
    """Where a generation is published."""
    return f"ledger/{name}/{generation:08d}.json"


def ledger_names(store: ObjectStore) -> set[str]:
    """Pipelines of which something was promoted."""
    return {info.key.split("/")[1] for info in store.list("ledger/")}


def parse_entry(data: bytes, where: str) -> LedgerEntry:
    """Raises ``SecurityError`` naming `where` for bytes that are no entry."""
    try:
        entry: LedgerEntry = _ENTRY.validate_json(data)
    except ValidationError as exc:
        first = exc.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        said = f"{place}: {first['msg']}" if place else first["msg"]
        raise SecurityError(f"{where}: is not a ledger entry ({said}); it was changed") from exc
    if canonical_json(asdict(entry)) != data:  # the signature is over the values: other spaces would pass unseen
        raise SecurityError(f"{where}: its bytes are not those that were written; it was changed")
    return entry


def signed_part(entry: LedgerEntry) -> bytes:
    """The bytes that the signature is over."""
    fields = asdict(entry)
    del fields["signature"]
    return canonical_json(fields)


def sign_entry(entry: LedgerEntry, signer: Signer) -> LedgerEntry:
    """The entry with the signer's key id and signature."""
    fields = {**asdict(entry), "key_id": signer.key_id}
    signature = signer.sign(signed_part(LedgerEntry(**fields)), purpose="ledger")
    return LedgerEntry(**{**fields, "signature": signature.value})


@dataclass(frozen=True)
class Link:
    """An entry and the SHA-256 hex of its bytes."""

    entry: LedgerEntry
    digest: str
    body: bytes  # as it was published
    written_s: float | None = field(default=None, compare=False)  # by the clock of the store, where it was asked


class Chain:
    """The entries of one pipeline, oldest first. Nothing about them is verified before `verify`."""

    def __init__(self, name: str, links: Sequence[Link]) -> None:
        self.name = name
        self.links = tuple(links)

    @property
    def head(self) -> Link | None:
        """The newest, or None."""
        return self.links[-1] if self.links else None

    def anchored(self, generation: int, key_id: str, trusted: TrustedKeys) -> Anchored:
        """Whether what generation `generation` says existed before `key_id` was revoked.

        Shown by this entry or a later one with a key that was not revoked, or by the head that the public list noted
        when the key was revoked.
        """
        key = trusted.get(key_id)
        noted = key.anchors.get(self.name) if key is not None else None
        if noted is not None and generation <= noted.generation:
            return "noted" if self._holds(noted) else False
        signers = (trusted.get(link.entry.key_id) for link in self.links[generation - 1 :])
        return any(signer is not None and signer.revoked_s is None for signer in signers)

    def _holds(self, noted: Anchor) -> bool:
        return noted.generation <= len(self.links) and self.links[noted.generation - 1].digest == noted.digest

    def verify(self, trusted: TrustedKeys, *, after: int = 0) -> None:
        """Raises ``SecurityError`` naming the first entry whose signature does not hold, or a head that is gone.

        Signatures up to generation `after` have been verified by this very list: what was anchored then still is.
        """
        for key in trusted:
            noted = key.anchors.get(self.name)
            if noted is not None and not self._holds(noted):
                raise SecurityError(
                    f"ledger/{self.name}: generation {noted.generation} is not {noted.digest[:12]}, which was its head "
                    f"when key {key.id} was revoked; entries were removed or replaced"
                )
        for link in self.links[after:]:
            self.verify_link(link, trusted)

    def verify_link(self, link: Link, trusted: TrustedKeys) -> None:
        """Raises ``SecurityError`` when the entry's key or signature does not hold."""
        entry = link.entry
        trusted.verify(
            DetachedSignature(entry.key_id, entry.signature),
            signed_part(entry),
            purpose="ledger",
            role="pipeline",
            at_s=entry.at_s,
            what=entry_key(self.name, entry.generation),
            anchored=self.anchored(entry.generation, entry.key_id, trusted),
        )

    def anchor(self, trusted: TrustedKeys, *, before_s: float) -> Anchor | None:
        """The newest entry up to which every entry verifies and says that it is older than `before_s`."""
        older = None
        for link in self.links:
            try:
                self.verify_link(link, trusted)
            except SecurityError:
                break
            dated_s = link.entry.at_s if link.written_s is None else min(link.entry.at_s, link.written_s)
            if dated_s >= before_s:  # the store's clock speaks for what a clock that was ahead dated
                break
            older = Anchor(generation=link.entry.generation, digest=link.digest)
        return older


def follow_links(name: str, before: Sequence[Link], data: bytes, where: str) -> Link:
    """The link that these bytes are after those `before`. Raises ``SecurityError`` naming `where`."""
    entry = parse_entry(data, where)
    previous = before[-1].digest if before else ""
    if (entry.previous, entry.generation, entry.name) != (previous, len(before) + 1, name):
        raise SecurityError(f"{where}: does not follow the entry before it; it was changed")
    return Link(entry, digest_bytes(data), data)


def read_tail(
    store: ObjectStore, name: str, before: Sequence[Link], infos: Iterable[ObjectInfo]
) -> tuple[list[Link], SecurityError | None]:
    """The links `before` and those of the listed objects, up to the first that does not follow the one before, and
    what is wrong with that one."""
    links = list(before)
    listed = list(infos)
    for info, data in zip(listed, side_by_side(lambda one: store.get(one.key), listed), strict=True):
        where = f"{store.bucket}/{info.key}"
        generation = len(links) + 1
        if info.key != entry_key(name, generation):
            return links, SecurityError(f"{where}: expected generation {generation}; an entry was removed or added")
        try:
            links.append(replace(follow_links(name, links, data, where), written_s=info.modified_s))
        except SecurityError as error:
            return links, error
    return links, None


def read_links(store: ObjectStore, name: str) -> tuple[list[Link], SecurityError | None]:
    """The links of the bucket up to the first that does not follow the one before, and what is wrong with that one."""
    return read_tail(store, name, [], store.list(f"ledger/{name}/"))


def read_chain(store: ObjectStore, name: str) -> Chain:
    """The whole chain. Raises ``SecurityError`` for a gap, a fork or an entry that was changed."""
    links, problem = read_links(store, name)
    if problem is not None:
        raise problem
    return Chain(name, links)
