"""Follow the ledger: what serves is its head, after every signature and byte of it was verified."""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from mlratchet.models.decisions.signature import Context
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.keys import Keys
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ledger.port import Ledger
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.promotion.verify import verify_entry
from mlratchet.models.registration.record import Registration, find_registration
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import Slot

logger = logging.getLogger(__name__)


class PredictorLoader(Protocol):
    """Makes what answers out of a registered artifact."""

    def load(self, record: Registration, generation: int) -> Predictor:
        """The artifact's bytes verified against its record. Raises ``SecurityError`` for any difference."""
        ...


class ChampionFollower:
    """Keeps the slot of one pipeline at the head of its ledger."""

    def __init__(
        self, name: str, slot: Slot, *, ledger: Ledger, keys: Keys, store: ObjectStore, loader: PredictorLoader
    ) -> None:
        self._name, self._slot = name, slot
        self._ledger, self._keys, self._store, self._loader = ledger, keys, store, loader
        self.stopping = threading.Event()

    def run(self, *, every_s: float) -> None:
        """Until stopped. A champion that cannot be loaded leaves the old one serving and says so in /health."""
        while not self.stopping.is_set():
            try:
                self.follow()
            except Exception as error:  # noqa: BLE001 - the old champion must go on serving whatever the new one is
                line = error.line() if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}"
                if line != self._slot.load_error:
                    logger.error("champion of %s cannot be served: %s", self._name, line)
                self._slot.load_error = line
            self.stopping.wait(every_s)

    def follow(self) -> None:
        """Load the ledger's head unless it is served already."""
        chain = self._ledger.chain(self._name)
        head = chain.head.entry if chain.head is not None else None
        current = self._slot.current
        refuse_shorter(head, current.generation if current is not None else 0, name=self._name)
        if head is None or (current is not None and current.generation == head.generation):
            self._slot.load_error = ""  # what was wrong has been put right
            return
        verify_entry(
            self._store,
            [link.entry for link in chain.links],
            head.generation,
            Context(self._keys.trusted(), chain, head.generation),
        )
        predictor = self._loader.load(self.promoted(head), head.generation)
        predictor.warm_up()
        fault_point("serve.before_swap")
        self._slot.swap(predictor)
        logger.warning("%s: version %s (generation %s) is served", self._name, head.version, head.generation)

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


def refuse_shorter(head: LedgerEntry | None, served: int, *, name: str) -> None:
    """Raises ``SecurityError`` when the ledger ends before the generation that is served."""
    ends = head.generation if head is not None else 0
    if ends < served:
        raise SecurityError(
            f"ledger/{name}/ ends with generation {ends}, but {served} is served: its newest entries were removed; "
            "restore them from a copy of the bucket"
        )
