"""Leases: which runs live, so that nobody works beside them or sweeps up what they need.

A run renews `leases/<run>.json` while its process lives. Age is measured by the object store's clock alone, on both
ends, so that a machine whose clock is off neither loses a lease nor keeps one. A lease says who is alive; what a stale
process may write is decided by the epoch of its claim, never by time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass

from mlratchet.models.errors import InfrastructureError, RatchetError, SecurityError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.claim import read_claims
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore, StorageError

LEASE_S = 60.0  # seconds without a renewal after which nobody is taken to be alive
RENEW_S = 10.0  # seconds between two renewals
POLL_S = 1.0  # seconds between two looks at somebody else's lease
LEASES = "leases/"
CLOCK = "hardware/clock"


class HeldError(InfrastructureError):
    """Somebody else is at this very work; trying again at once would find the same."""

    code = "HELD"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A living run."""

    run: str  # flow run id
    pipeline: str
    owner: str  # who asked for it
    machine: str  # host, boot and pid namespace: a pid means something there alone
    pid: int
    born_s: float  # when the process began, by its machine's clock: a pid is used again


@dataclass(frozen=True, kw_only=True)
class HeldLease:
    """A lease as the store shows it."""

    lease: Lease
    renewed_s: float  # by the store's clock
    age_s: float  # since the renewal, by the store's clock


Gone = Callable[[Lease], bool]  # whether the process of a lease is known to be dead; False where that cannot be known


def lease_key(run: str, prefix: str = LEASES) -> str:
    """Where a run's lease is."""
    return f"{prefix}{run}.json"


def server_now(store: ObjectStore) -> float:
    """Seconds since the epoch by the store's clock, which stamps every object."""
    store.put(CLOCK, b"")
    return store.head(CLOCK).modified_s


def earlier_clock_s(store: ObjectStore) -> float:
    """Seconds since the epoch by this machine's clock or the store's, whichever is behind. By one that is ahead a
    window that is not over loses the rest of its rows, and what was just found is history; by one that is behind it is
    only looked at later."""
    return min(time.time(), server_now(store))


def read_leases(store: ObjectStore, prefix: str = LEASES) -> list[HeldLease]:
    """Every lease that was not given back, living or not. Raises ``SecurityError`` for an object that is none."""
    now_s, found = server_now(store), []
    for info in store.list(prefix):
        with suppress(ObjectNotFound):  # given back meanwhile
            lease = _parse(store.get(info.key), f"{store.bucket}/{info.key}")
            found.append(HeldLease(lease=lease, renewed_s=info.modified_s, age_s=now_s - info.modified_s))
    return found


def _parse(data: bytes, where: str) -> Lease:
    try:
        return Lease(**json.loads(data))
    except (ValueError, TypeError, RecursionError) as exc:
        raise SecurityError(f"{where}: is not a lease; it was changed, remove it") from exc


def live_leases(store: ObjectStore, *, is_gone: Gone, prefix: str = LEASES) -> list[HeldLease]:
    """Of runs that may be alive."""
    return [held for held in read_leases(store, prefix) if held.age_s <= LEASE_S and not is_gone(held.lease)]


def holder_of(store: ObjectStore, work_key: str, *, run: str, is_gone: Gone) -> HeldLease | None:
    """The living run, other than `run`, that took the newest claim of the work key."""
    claims = read_claims(store, work_key)
    if not claims or claims[-1].run in ("", run):
        return None
    return next((held for held in live_leases(store, is_gone=is_gone) if held.lease.run == claims[-1].run), None)


def wait_until_free(
    store: ObjectStore, work_key: str, *, run: str, is_gone: Gone, pause: Callable[[float], None] = time.sleep
) -> None:
    """Return once nobody alive holds the work key: at once, or when a silent holder's lease has run out.

    Raises ``HeldError`` naming the holder as soon as it is seen to renew its lease.
    """
    first_s: float | None = None
    while (held := holder_of(store, work_key, run=run, is_gone=is_gone)) is not None:
        lease = held.lease
        if first_s is not None and held.renewed_s > first_s:
            raise HeldError(
                f"work {work_key[:12]} of {lease.pipeline} is under way in run {lease.run} by {lease.owner} (pid "
                f"{lease.pid} on {lease.machine.split('/')[0]}); wait for it, or cancel it: {LEASE_S:.0f} s after its "
                "last sign of life the work is free"
            )
        first_s = held.renewed_s if first_s is None else first_s
        pause(POLL_S)


class LeaseKeeper:
    """Renews a run's lease from a thread until it is closed."""

    def __init__(self, store: ObjectStore, lease: Lease, *, prefix: str = LEASES, renew_s: float = RENEW_S) -> None:
        self._store, self._key, self._renew_s = store, lease_key(lease.run, prefix), renew_s
        self._body = canonical_json(asdict(lease))
        self._closing = threading.Event()
        self._longest_s = 0.0  # between two renewals
        self._renewed = time.monotonic()
        store.put(self._key, self._body)
        self._thread = threading.Thread(target=self._run, daemon=True, name="lease")
        self._thread.start()

    @property
    def lapsed(self) -> bool:
        """Whether others may have taken this run for dead at any time, as after a SIGSTOP or a long outage."""
        return max(self._longest_s, time.monotonic() - self._renewed) > LEASE_S

    def close(self) -> None:
        """Give it back. A store that is away keeps it until it runs out."""
        self._closing.set()
        self._thread.join()
        with suppress(StorageError):
            self._store.delete(self._key)

    def _run(self) -> None:
        while not self._closing.wait(self._renew_s):
            began = time.monotonic()
            with suppress(RatchetError):  # also what a server says that has just started: it knows no key yet
                self._store.put(self._key, self._body)
                self._longest_s = max(self._longest_s, began - self._renewed)
                self._renewed = began
