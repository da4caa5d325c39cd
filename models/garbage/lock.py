"""The collector and the runs know of each other through the bucket.

A run writes its lease and then looks for a collector; a collector writes its mark and then looks for runs. Reads follow
writes, so at least one sees the other: the run waits, and the collector leaves alone what a run could take up again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mlratchet.models.identity.lease import POLL_S, Gone, Lease, LeaseKeeper, live_leases
from mlratchet.models.ports.storage import ObjectStore

RUNNING = "gc/running/"
STARTED = "gc/started/"


def collections(store: ObjectStore) -> set[str]:
    """One key for every collection that ever began, until it is garbage itself."""
    return {info.key for info in store.list(STARTED)}


def wait_for_collector(
    store: ObjectStore, *, is_gone: Gone, pause: Callable[[float], None] = time.sleep
) -> frozenset[str]:
    """Return when no collector is at work, with the collections that began before. For a run that has its lease."""
    while live_leases(store, is_gone=is_gone, prefix=RUNNING):
        pause(POLL_S)
    return frozenset(collections(store))


@contextmanager
def collecting(store: ObjectStore, lease: Lease, *, is_gone: Gone) -> Iterator[tuple[bool, LeaseKeeper]]:
    """Hold back runs that begin now; yields whether other runs are under way already, and what says whether this
    collector may have been taken for dead since."""
    keeper = LeaseKeeper(store, lease, prefix=RUNNING)
    try:
        store.create(f"{STARTED}{lease.run}.json", lease.owner.encode())
        yield bool(live_leases(store, is_gone=is_gone)), keeper
    finally:
        keeper.close()
