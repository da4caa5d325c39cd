"""Revoke a key: the public list, with what the ledgers show to be older than the theft."""

from __future__ import annotations

from mlratchet.infra.keys.files import load_trusted, revoke_key, trusted_keys_file
from mlratchet.models.errors import ConfigurationError, InfrastructureError, SecurityError
from mlratchet.models.identity.signing import Anchor, TrustedKey, TrustedKeys
from mlratchet.models.ledger.chain import read_chain
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.tasks.wiring import Adapters


def revoke(adapters: Adapters, key_id: str, *, reason: str, since_s: float) -> tuple[TrustedKey, list[str]]:
    """Revoke, then say what could not be anchored, one line each.

    Revoking never waits for the bucket: without it nothing that the key signed is believed, until it is revoked again.
    """
    settings = adapters.settings
    trusted = load_trusted(trusted_keys_file(settings))
    before = trusted.get(key_id)
    repeated = before is not None and before.revoked_s is not None and since_s >= before.revoked_s
    anchors = dict(before.anchors) if before is not None and repeated else {}
    key = revoke_key(settings, key_id, reason=reason, since_s=since_s, anchors=anchors)
    if before is not None:  # its signatures are held against what it was, to tell what is older
        trusted = trusted.replacing(before.model_copy(update={"revoked_s": None}))
    try:
        found, notes = older_heads(adapters.store, trusted, before_s=key.revoked_s or since_s)
    except (InfrastructureError, ConfigurationError) as error:
        return key, [f"the bucket does not answer, so nothing more that the key signed is believed: {error}"]
    anchors = found | anchors  # what was noted at the first revocation stays: later entries may be the thief's
    if anchors != key.anchors:
        key = revoke_key(settings, key_id, reason=reason, since_s=since_s, anchors=anchors)
    return key, notes


def older_heads(store: ObjectStore, trusted: TrustedKeys, *, before_s: float) -> tuple[dict[str, Anchor], list[str]]:
    """Of every pipeline the newest entry that verifies and says it is older; a line per ledger that cannot be read."""
    anchors: dict[str, Anchor] = {}
    notes: list[str] = []
    for name in sorted({info.key.split("/")[1] for info in store.list("ledger/")}):
        try:
            held = read_chain(store, name).anchor(trusted, before_s=before_s)
        except SecurityError as error:
            notes.append(f"{name}: nothing is noted: {error}")
            continue
        if held is not None:
            anchors[name] = held
    return anchors, notes
