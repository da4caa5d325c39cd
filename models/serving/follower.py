"""Follow the ledger: what serves is its head, after every signature and byte of it was verified."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
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
        """`give_back`: frees what a champion that serves no longer left; called at the look after a swap. `beside`:
        keeps a candidate in its canary beside the champion."""
        self._name, self._slot = name, slot
        self._ledger, self._keys, self._store, self._loader = ledger, keys, store, loader
        self._give_back, self._beside = give_back, beside
        self._served: Link | None = None  # the entry that promoted what serves
        self._failed: str | None = None  # digest of the head that could not be served
        self._failures = 0  # of it, one after the other
        self._untidy = False
        self.stopping = threading.Event()

    def run(self, *, every_s: float) -> None:
        """Until stopped. A champion that cannot be loaded leaves the old one serving, says so in /health with the next
        try, and is tried again ever less often; another head is tried at once."""
        waited_s = 0.0
        while not self.stopping.is_set():
            pause_s = wait_after(self._failures, every_s)
            if waited_s >= pause_s or not self._failures or self._has_moved():
                self.try_to_follow(every_s)
                waited_s = 0.0
            self._slot.next_try_in_s = (
                round(max(0.0, wait_after(self._failures, every_s) - waited_s), 1) if self._failures else None
            )
            self.stopping.wait(every_s)
            waited_s += every_s

    def try_to_follow(self, every_s: float) -> None:
        """Once; what goes wrong is said and counted."""
        try:
            self.follow()
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - the old champion must go on serving whatever the new one is
            line = error.line() if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
            self._failures += 1
            if line != self._slot.load_error:
                wait_s = wait_after(self._failures, every_s)
                logger.error("champion of %s cannot be served: %s; next try in %.0f s", self._name, line, wait_s)
            self._slot.load_error = line

    def _has_moved(self) -> bool:
        """Whether the head is another than the one that could not be served. One listing: nothing is loaded."""
        try:
            head = self._ledger.chain(self._name).head
        except Exception:  # noqa: BLE001 - a ledger that cannot be read is told at the next try
            return False
        return head is not None and head.digest != self._failed

    def follow(self) -> None:
        """Load the ledger's head unless it is served already."""
        if self._untidy:
            self._untidy = False
            self._give_back()
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
        self._untidy = True  # also what could not be loaded left something
        predictor = self._loader.load(self.promoted(entry), entry.generation)
        predictor.warm_up()
        fault_point("serve.before_swap")
        self._served = head
        self._slot.swap(predictor)
        logger.info("%s: version %s (generation %s) is served", self._name, entry.version, entry.generation)

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


def wait_after(failures: int, every_s: float) -> float:
    """Seconds before the next try: twice as long after every failure, up to a minute."""
    return min(LONGEST_WAIT_S, every_s * 2.0 ** min(failures, 16)) if failures else 0.0


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
