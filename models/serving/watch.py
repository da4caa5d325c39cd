"""Which pipelines a server looks at: one request to the store at a tick, however many pipelines it serves."""

from __future__ import annotations

from collections.abc import Sequence

from mlratchet.models.ledger.notice import PREFIX, Notices
from mlratchet.models.ports.storage import ObjectStore, StorageError

LOOK_EVERY = 10  # ticks: at one of so many, a pipeline's own chain is looked at instead of the notices


class ChainWatch:
    """Notices say at once what moved. A notice can be missing (who promoted died before it, or somebody removed it):
    so the pipelines are looked at in turn as well."""

    def __init__(self, store: ObjectStore) -> None:
        self._store, self._notices = store, Notices()
        self._ticks, self._turn = 0, 0

    def tick(self, names: Sequence[str]) -> set[str]:
        """Whose chains to look at now. A store that does not answer is told by whoever's turn it is."""
        if not names:
            return set()
        self._ticks += 1
        if self._ticks % LOOK_EVERY == 0:
            return self._next(names)
        try:
            return self._notices.moved(self._store.list(PREFIX)) & set(names)
        except StorageError:
            return self._next(names)

    def _next(self, names: Sequence[str]) -> set[str]:
        self._turn += 1
        return {sorted(names)[self._turn % len(names)]}
