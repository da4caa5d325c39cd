"""Signed decisions: `decisions/<digest>.json` and beside it `signatures/<digest>/<key id>.json`.

A signature is an object of its own, not an envelope: the digest of a decision (a tag, a ledger entry's field, the name
of the object) stays what it is whoever signs, and after a revocation it can be signed anew. The signature is written
last: a decision without one does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from mlratchet.models.decisions.document import Decision, as_decision
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.identity.signing import Anchored, DetachedSignature, Role, Signer, TrustedKeys
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

MOST_GUESSES = 2  # keys whose signature is asked for by name, before a listing shows them all
MOST_SIGNATURES = 32  # looked at per decision: whoever writes to the bucket may add as many as they like


def decision_key(digest: str) -> str:
    """Where a decision is published."""
    return f"decisions/{digest}.json"


def publish_decision(store: ObjectStore, decision: Mapping[str, object], signer: Signer) -> str:
    """Write the decision, then its signature; returns the digest. Repeating it changes nothing."""
    body = canonical_json(decision)
    digest = digest_bytes(body)
    store.create(decision_key(digest), body)
    sign_decision(store, digest, body, signer)
    return digest


def sign_decision(store: ObjectStore, digest: str, body: bytes, signer: Signer) -> None:
    """Add one key's signature to a decision that was read with its digest."""
    signature = signer.sign(body, purpose="decision")
    document = canonical_json({"key_id": signature.key_id, "signature": signature.value})
    store.create(f"signatures/{digest}/{signer.key_id}.json", document)


@dataclass(frozen=True)
class Context:
    """What a decision's signature is held against: whom to believe, and what shows that it is old."""

    trusted: TrustedKeys
    chain: Chain | None = None
    generation: int | None = None  # of the ledger entry that names the decision, directly or through another one
    verified: dict[tuple[str, Role], tuple[Decision, str]] = field(default_factory=dict, compare=False)
    """Decisions that were verified with it: several checks ask for the same ones."""

    def anchored(self, key_id: str) -> Anchored:
        """See `Chain.anchored`."""
        if self.chain is None or self.generation is None:
            return False
        return self.chain.anchored(self.generation, key_id, self.trusted)


def verified_decision(
    store: ObjectStore, digest: str, context: Context, *, role: Role = "pipeline"
) -> tuple[Decision, str]:
    """The decision and the id of a key that vouches for it.

    Raises ``SecurityError`` naming what differs: missing, other bytes, no signature, none that verifies.
    """
    held = context.verified.get((digest, role))
    if held is None:
        held = context.verified[digest, role] = _verify(store, digest, context, role)
    return held


def _verify(store: ObjectStore, digest: str, context: Context, role: Role) -> tuple[Decision, str]:
    what = f"decision {digest[:12]}"
    try:
        body = store.get(decision_key(digest), sha256=digest)
    except ObjectNotFound as exc:
        raise SecurityError(f"{what}: {store.bucket}/{decision_key(digest)} is missing") from exc
    decision = parse_decision(body, what)
    at_s = float(decision["at_s"])
    problems = []
    for key in chain(_likely(digest, context, role, at_s), _listed(store, digest)):
        try:
            signature = parse_signature(store.get(key), f"{store.bucket}/{key}")
            signer = context.trusted.verify(
                signature,
                body,
                purpose="decision",
                role=role,
                at_s=at_s,
                what=f"{what}: {store.bucket}/{key}",
                anchored=context.anchored(signature.key_id),
            )
        except ObjectNotFound:
            continue
        except SecurityError as error:
            problems.append(str(error))
            continue
        return decision, signer.id
    raise SecurityError(problems[0] if problems else f"{what}: nobody signed it; signatures/{digest}/ is empty")


def _likely(digest: str, context: Context, role: Role, at_s: float) -> list[str]:
    """Where the signature of a key that was in use then stands: it spares a listing."""
    return [
        f"signatures/{digest}/{key.id}.json"
        for key in context.trusted
        if key.role == role
        and key.valid_from_s <= at_s
        and (key.rotated_s is None or at_s < key.rotated_s)
        and (key.revoked_s is None or at_s < key.revoked_s)
    ][:MOST_GUESSES]


def _listed(store: ObjectStore, digest: str) -> Iterator[str]:
    return (info.key for info in islice(store.list(f"signatures/{digest}/"), MOST_SIGNATURES))


def parse_decision(body: bytes, what: str) -> Decision:
    """Raises ``SecurityError`` for bytes that are no decision."""
    try:
        return as_decision(json.loads(body), what)
    except (ValueError, RecursionError) as exc:
        raise SecurityError(f"{what}: is not a decision: no JSON; it was not written by a gate") from exc


def parse_signature(data: bytes, where: str) -> DetachedSignature:
    """Raises ``SecurityError`` for bytes that are no signature."""
    try:
        document = json.loads(data)
        return DetachedSignature(str(document["key_id"]), str(document["signature"]))
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise SecurityError(f"{where}: is not a signature; it was changed") from exc
