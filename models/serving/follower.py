"""Follow the ledger: what serves is its head, after every signature and byte of it was verified."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from mlratchet.models.decisions.signature import Context
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.keys import Keys
from mlratchet.models.ledger.chain import Chain, Link, entry_key
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.port import Ledger
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot

logger = logging.getLogger(__name__)
TIDY_S = 2.0
LONGEST_WAIT_S = 60.0  # between two tries of a champion that cannot be served


class PredictorLoader(Protocol):
    """Makes what answers out of a registered artifact."""

    def load(self, record: Registration, generation: int) -> Predictor:
        """The artifact's bytes verified against its record. Raises ``SecurityError`` for any difference."""
        ...


class BesideFollower(Protocol):
    """Keeps a candidate beside the champion, or nobody (`canary_follower.py`). Never raises."""

    def look(self, chain: Chain) -> None:
        """With the ledger as it was just verified."""
        ...

    def lost(self, error: Exception) -> None:
        """The ledger could not be read."""
        ...

    def take_over(self, entry: LedgerEntry) -> Predictor | None:
        """The candidate that the entry promotes, loaded and warm as it was beside; None where it was not."""
        ...

    def wants_a_look_in(self) -> float | None:
        """Seconds until it wants to be looked at though nothing was noticed; None: until something is."""
        ...


class ChampionFollower:
    """Keeps the slot of one pipeline at the head of its ledger."""

    def __init__(
        self,
        name: str,
        slot: Slot,
        *,
        ledger: Ledger,
        keys: Keys,
        store: ObjectStore,
        loader: PredictorLoader,
        give_back: Callable[[], None] = lambda: None,
        beside: BesideFollower | None = None,
    ) -> None:
        """`give_back`: frees what a champion that serves no longer left; called a moment after a swap. `beside`:
        keeps a candidate in its canary beside the champion."""
        self._name, self._slot = name, slot
        self._ledger, self._keys, self._store, self._loader = ledger, keys, store, loader
        self._give_back, self._beside = give_back, beside
        self._served: Link | None = None  # the entry that promoted what serves
        self._before: LedgerEntry | None = None  # the entry behind the version before, which stays loaded
        self._failed: str | None = None  # digest of the head that could not be served
        self._failures = 0  # of it, one after the other
        self._untidy = False
        self.stopping = threading.Event()
        self._woken = threading.Event()

    def wake(self) -> None:
        """The ledger may have moved: look at it now. From any thread."""
        self._woken.set()

    def retry(self) -> None:
        """What could not be loaded is tried now. From any thread."""
        self._slot.next_try_at = None
        self.wake()

    def stop(self) -> None:
        """After what is being loaded."""
        self.stopping.set()
        self._woken.set()

    def run(self) -> None:
        """Until stopped: look when woken, and at a champion that could not be loaded ever less often."""
        while not self.stopping.is_set():
            self._woken.clear()
            self.look(time.monotonic())
            if self._untidy and not self._woken.wait(TIDY_S):
                self.tidy()
            self._woken.wait(self._pause_s())

    def _pause_s(self) -> float | None:
        """Seconds until there is something to look at though nobody wakes it; None: there is nothing."""
        at = self._slot.next_try_at
        tries_s = max(0.0, at - time.monotonic()) if at is not None else None
        beside_s = self._beside.wants_a_look_in() if self._beside is not None else None
        return min((s for s in (tries_s, beside_s) if s is not None), default=None)

    def look(self, now: float) -> None:
        """Once. A champion that cannot be loaded leaves the old one serving, says so in /health with the next try, and
        is not tried before that; another head is tried at once. `now`: by the monotonic clock."""
        at = self._slot.next_try_at
        if at is not None and now < at and not self._has_moved():
            return
        try:
            self.follow()
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - the old champion must go on serving whatever the new one is
            line = error.line() if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
            self._failures += 1
            wait_s = wait_after(self._failures)
            if line != self._slot.load_error:
                logger.error("champion of %s cannot be served: %s; next try in %.0f s", self._name, line, wait_s)
            self._slot.load_error, self._slot.next_try_at = line, now + wait_s

    def tidy(self) -> None:
        """Free what a champion that serves no longer left, once those whom it still answered have gone."""
        self._untidy = False
        self._give_back()

    def _has_moved(self) -> bool:
        """Whether the head is another than the one that could not be served. One listing: nothing is loaded."""
        try:
            head = self._ledger.chain(self._name).head
        except Exception:  # noqa: BLE001 - a ledger that cannot be read is told at the next try
            return False
        return head is not None and head.digest != self._failed

    def follow(self) -> None:
        """Load the ledger's head unless it is served already."""
        self._failed = None
        chain = self._chain()
        head = chain.head
        self._failed = head.digest if head is not None else None
        refuse_other(chain, self._served)
        if head is None or (self._served is not None and self._served.digest == head.digest):
            self._slot.put_right()
            return
        entry = head.entry
        verify_entry(
            self._store,
            [link.entry for link in chain.links],
            entry.generation,
            Context(self._keys.trusted(), chain, entry.generation),
        )
        predictor = self._predictor(self.promoted(entry), entry)
        fault_point("serve.before_swap")
        self._before = self._served.entry if self._served is not None else None
        self._served = head
        self._slot.swap(predictor)
        logger.info("%s: version %s (generation %s) is served", self._name, entry.version, entry.generation)
        if self._beside is not None:  # a canary under this very entry waited for its champion
            self._beside.look(chain)

    def _chain(self) -> Chain:
        """The ledger; whoever is beside the champion is told of it first, because a new entry ends a canary."""
        try:
            chain = self._ledger.chain(self._name)
        except Exception as error:
            if self._beside is not None:
                self._beside.lost(error)
            raise
        if self._beside is not None:
            self._beside.look(chain)
        return chain

    def _predictor(self, record: Registration, entry: LedgerEntry) -> Predictor:
        """Of the version that the entry promotes: the one before, or the candidate that was beside the champion, is
        still there, verified and warm."""
        previous = self._slot.previous
        if previous is not None and self._before is not None and same_version(self._before, entry):
            return replace(previous, generation=entry.generation)
        candidate = self._beside.take_over(entry) if self._beside is not None else None
        if candidate is not None:
            return candidate
        self._untidy = True  # also what could not be loaded left something
        predictor = self._loader.load(record, entry.generation)
        predictor.warm_up()
        return predictor

    def promoted(self, head: LedgerEntry) -> Registration:
        """The record that the entry promoted. Raises ``SecurityError`` for another's."""
        record = find_registration(self._store, head.work_key)
        if record is None or record.version != head.version:
            raise SecurityError(f"{self._name} version {head.version}: its registration record is missing or another's")
        if record.manifest_digest != head.manifest:
            raise SecurityError(
                f"{self._name} version {head.version}: manifest {record.manifest_digest[:12]} is not the promoted "
                f"{head.manifest[:12]}; the registration was changed"
            )
        return record


def same_version(one: LedgerEntry, other: LedgerEntry) -> bool:
    """Whether both promote the same bytes."""
    return (one.version, one.work_key, one.manifest) == (other.version, other.work_key, other.manifest)


def wait_after(failures: int) -> float:
    """Seconds before the next try: twice as long after every failure, up to a minute."""
    return float(min(LONGEST_WAIT_S, 2.0 ** min(failures, 16))) if failures else 0.0


def refuse_other(chain: Chain, served: Link | None) -> None:
    """Raises ``SecurityError`` when the ledger no longer holds the entry that is served: numbers say nothing, as
    whoever removes entries can write others under the same numbers."""
    if served is None:
        return
    generation, ends = served.entry.generation, len(chain.links)
    if ends < generation:
        raise SecurityError(
            f"ledger/{chain.name}/ ends with generation {ends}, but {generation} is served: its newest entries were "
            "removed; restore them from a copy of the bucket"
        )
    stands = chain.links[generation - 1].digest
    if stands != served.digest:
        raise SecurityError(
            f"{entry_key(chain.name, generation)}: is {stands[:12]}, but {served.digest[:12]} is served: the ledger "
            "was rewritten; restore it from a copy of the bucket"
        )
