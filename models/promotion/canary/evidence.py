"""Live evidence as an object of the bucket, named by its digest: what a record that ends the watching was made on."""

from __future__ import annotations

import json
from dataclasses import asdict

from mlratchet.models.decisions.stored_evidence import decode, evidence_key
from mlratchet.models.errors import SecurityError
from mlratchet.models.gates.live import LiveEvidence
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore


def live_digest(live: LiveEvidence | None) -> dict[str, str]:
    """For the digests of a decision: what the champion gate read of a canary, if there was one."""
    return {"canary": digest_bytes(_body(live))} if live is not None else {}


def freeze_live(store: ObjectStore, live: LiveEvidence) -> str:
    """Publish; returns the digest."""
    body = _body(live)
    digest = digest_bytes(body)
    store.create(evidence_key(digest), body)
    return digest


def _body(live: LiveEvidence) -> bytes:
    return canonical_json({"live": asdict(live)})


def thaw_live(store: ObjectStore, digest: str) -> LiveEvidence:
    """Read back. Raises ``SecurityError`` for what is missing or no such document."""
    where = f"{store.bucket}/{evidence_key(digest)}"
    try:
        found: LiveEvidence = decode(
            store, json.loads(store.get(evidence_key(digest), sha256=digest))["live"], LiveEvidence
        )
    except ObjectNotFound as exc:
        raise SecurityError(f"{exc}; the evidence of a canary is gone") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise SecurityError(f"{where}: is not the evidence of a canary ({exc})") from exc
    return found
