"""A remembered head: what one installation has verified of a ledger, so that from then on it verifies the tail alone.

The head is signed with the pipeline's key and kept outside the bucket, beside a copy of the entries up to it. Only the
head has to be believed: every entry of the copy is held against it by its digest, back to the first. A head that is not
genuine, of another ledger, or verified by another list of keys than today's is worth nothing, and all is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import DetachedSignature, Signer, TrustedKeys
from mlratchet.models.ledger.chain import Link, parse_entry
from pydantic import Field, ValidationError

Verified = Literal["chain", "audit"]


class RememberedHead(StrictModel):
    """One line in the home folder."""

    format: Literal[1] = 1
    verified: Verified
    """`chain`: every entry and its signature. `audit`: all that is behind the entries, too, to the last byte."""
    where: str
    """Endpoint and bucket that were read."""
    name: str
    """Of the pipeline."""
    generation: int = Field(ge=1)
    digest: str
    """SHA-256 hex of the newest entry."""
    trusted: str
    """SHA-256 hex of the public list by which every signature was verified."""
    at_s: float
    """When, seconds since the epoch."""
    decisions_s: float = 0.0
    """Of an audit: when the newest decision that it saw was written, by the server's clock."""
    ends: dict[str, str] = Field(default_factory=dict, exclude_if=lambda value: not value)
    """Of an audit: name of the newest record of every other chain of the pipeline -> SHA-256 hex of what it said."""
    key_id: str = ""
    signature: str = ""


def digest_of_list(trusted: TrustedKeys) -> str:
    """Which public list it is: another one may believe less."""
    return digest_bytes(trusted.to_json().encode())


def _signed_part(head: RememberedHead) -> bytes:
    return canonical_json(head.model_dump(mode="json", exclude={"signature"}))


def sign_head(head: RememberedHead, signer: Signer) -> RememberedHead:
    """The head with the signer's key id and signature."""
    named = head.model_copy(update={"key_id": signer.key_id})
    return named.model_copy(update={"signature": signer.sign(_signed_part(named), purpose="head").value})


def write_head(head: RememberedHead, links: Sequence[Link] = ()) -> bytes:
    """A line of the head, then one per entry, as it was published."""
    return b"\n".join([canonical_json(head.model_dump(mode="json")), *(link.body for link in links)]) + b"\n"


def believed_head(
    data: bytes | None, trusted: TrustedKeys, *, verified: Verified, where: str, name: str
) -> RememberedHead | None:
    """The head that `data` begins with, if it is genuine, of this very ledger, and the list is still the same."""
    if data is None:
        return None
    try:
        head = RememberedHead.model_validate_json(data.partition(b"\n")[0])
        trusted.verify(
            DetachedSignature(head.key_id, head.signature),
            _signed_part(head),
            purpose="head",
            role="pipeline",
            at_s=head.at_s,
            what=f"remembered head of {name}",
        )
    except (ValidationError, SecurityError):
        return None
    mine = (head.verified, head.where, head.name, head.trusted) == (verified, where, name, digest_of_list(trusted))
    return head if mine else None


def links_behind(head: RememberedHead, data: bytes) -> list[Link] | None:
    """The copy of the entries, oldest first; None when one is not what the head says by its digest."""
    bodies = data.split(b"\n")[1:-1]
    if len(bodies) != head.generation:
        return None
    links: list[Link] = []
    expected = head.digest
    for body in reversed(bodies):
        if digest_bytes(body) != expected:
            return None
        entry = parse_entry(body, "the copy of a ledger entry")
        links.append(Link(entry, expected, body))
        expected = entry.previous
    return links[::-1] if expected == "" else None
