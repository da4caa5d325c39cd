"""Notices: one small object per pipeline and chain that changes when the chain does, so that one listing shows a server
what moved, however many pipelines it follows.

A notice is no record: it is not signed and nobody believes it. Who reads it looks at the chain itself. One that is
missing costs time alone, as every chain is looked at by itself now and then.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.storage import ObjectInfo, ObjectStore, StorageError

PREFIX = "notices/"


def notice_key(pipeline: str, chain: str) -> str:
    """Where the notice of a pipeline's chain (`ledger`, `canary`) stands."""
    return f"{PREFIX}{pipeline}/{chain}.json"


def give_notice(store: ObjectStore, pipeline: str, chain: str, head: str) -> None:
    """After an entry is published: `head` is its digest. What goes wrong is no reason to fail: the entry stands."""
    with suppress(StorageError):
        store.put(notice_key(pipeline, chain), canonical_json({"head": head}))


class Notices:
    """The notices as one process saw them last."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def moved(self, listed: Iterable[ObjectInfo]) -> set[str]:
        """The pipelines of which a notice is another than at the last look. `listed`: all notices, as the store has
        them; whoever may write there may have written anything."""
        found = {info.key: info.etag for info in listed}
        changed = {key for key, etag in found.items() if self._seen.get(key) != etag}
        changed |= set(self._seen) - set(found)
        self._seen = found
        return {key.split("/")[1] for key in changed if key.count("/") == 2}
