"""What the clients of a version may send, as the decisions behind its promotion name it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mlratchet.models.decisions.decision import digests_behind
from mlratchet.models.identity.erasures import erased_objects
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.serving.contract import StoredRequest, load_requests

logger = logging.getLogger(__name__)


def requests_of(store: ObjectStore, entries: Sequence[LedgerEntry], version: int) -> list[StoredRequest]:
    """Of a champion of then or now; any other version has to answer them.

    The ledger is signed and names the decision, the decision names the requests by their digest: who deletes them makes
    the next candidate fail, who changes them raises ``DigestMismatch``.
    """
    key = requests_key(store, entries, version)
    if key is None:  # a person promoted it past the evaluation, or it was promoted before decisions named them
        logger.warning("no requests of version %d's clients are known: its decision names none", version)
        return []
    try:
        return load_requests(store, key, version)
    except ObjectNotFound:
        if f"{store.bucket}/{key}" in erased_objects(store):
            logger.warning("the requests of version %d's clients were erased on demand: none is asked again", version)
            return []
        words = f"the requests that clients of version {version} send are gone ({store.bucket}/{key})"
        return [StoredRequest(name=words, body="", expect="answer")]  # nothing answers it: the contract fails, in words


def requests_key(store: ObjectStore, entries: Sequence[LedgerEntry], version: int) -> str | None:
    """The key that the decision of the version's newest promotion names, or a gate's that this one names."""
    for entry in reversed(entries):
        if entry.version == version and entry.action == "promote":
            behind = digests_behind(store, entry.decision)
            return next((str(one["requests"]) for one in behind if "requests" in one), None)
    return None
