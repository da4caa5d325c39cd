"""Follow the canary chain: a server loads what the ledger does not name only while the newest signed record says so."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from mlratchet.models.errors import RatchetError
from mlratchet.models.identity.keys import Keys, PublicKeys
from mlratchet.models.identity.signed_chain import Seen
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.ports.storage import ObjectStore, StorageError
from mlratchet.models.promotion.canary.chain import newest_canary
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.verify import verify_staged, why_over
from mlratchet.models.serving.follower import PredictorLoader
from mlratchet.models.serving.predictor import Predictor
from mlratchet.models.serving.slot import SHADOW_S, Beside, Slot

logger = logging.getLogger(__name__)
LOOK_S = 3.0  # between two looks while a canary stands: whoever hides the notice of its end hides it no longer
RETRY_S = 30.0  # seconds before a candidate that could not be loaded is tried again
OUT_OF_REACH_S = 10.0  # without an answer of the store in so long, nothing shows that a canary still stands


class CanaryFollower:
    """Keeps the candidate beside one pipeline's champion as the newest record of its canary says."""

    def __init__(
        self,
        name: str,
        slot: Slot,
        *,
        keys: Keys,
        store: ObjectStore,
        loader: PredictorLoader,
        seen: Callable[[], Seen] = lambda: (0, ""),
        now: Callable[[], float] = time.time,
    ) -> None:
        """`seen`: the newest entry that this installation remembers outside the bucket."""
        self._name, self._slot, self._keys, self._store, self._loader = name, slot, keys, store, loader
        self._remembered, self._now = seen, now
        self._seen: Seen = (0, "")  # by this process
        self._loaded: tuple[str, Predictor] | None = None  # manifest and what answers
        self._promoted: tuple[str, Predictor] | None = None  # the same, once the ledger's head names it
        self._failed: tuple[str, float] = ("", 0.0)  # digest of an entry that could not be followed, and when
        self._reached_s = now()

    def look(self, chain: Chain) -> None:
        """Once, with the ledger as it was just verified. Whatever is wrong ends the canary here and is told: the
        champion alone answers, and never fails for it."""
        try:
            self._look(chain)
        except StorageError as error:
            if self._now() - self._reached_s > OUT_OF_REACH_S:
                self._end(f"its record is out of reach: {error}")
        except Exception as error:  # noqa: BLE001 - the champion must go on serving whatever a candidate is
            self._end(error.line() if isinstance(error, RatchetError) else f"{type(error).__name__}: {error}")
        self.expire()

    def lost(self, error: Exception) -> None:
        """The ledger could not be read: one that does not verify ends the canary, one out of reach after a while."""
        if isinstance(error, StorageError) and self._now() - self._reached_s <= OUT_OF_REACH_S:
            self.expire()
        else:
            self._end(f"the ledger that it was made under cannot be read: {error}")

    def expire(self) -> None:
        """End what expired, whatever can be reached."""
        beside = self._slot.beside
        if beside is not None and self._now() >= beside.expires_s:
            self._end("")

    def take_over(self, entry: LedgerEntry) -> Predictor | None:
        """See the port. It was verified against the same registration and manifest when it was loaded."""
        held, self._promoted = self._promoted, None
        if held is None or (held[0], held[1].version) != (entry.manifest, entry.version):
            return None
        if not self._slot.shadowing.acquire(timeout=SHADOW_S):  # one thread at a time asks a predictor
            return None
        self._slot.shadowing.release()
        return replace(held[1], generation=entry.generation)

    def wants_a_look_in(self) -> float | None:
        """See the port: while a canary stands, could not be loaded, or cannot be read."""
        beside = self._slot.beside
        if beside is not None:
            return max(0.0, min(LOOK_S, beside.expires_s - self._now()))
        return LOOK_S if self._slot.beside_error else None

    def _look(self, chain: Chain) -> None:
        trusted = self._keys.trusted()
        remembered = self._remembered()
        entry = newest_canary(
            RecordStore(self._store, PublicKeys(trusted)), self._name, seen=remembered if remembered[0] else self._seen
        )
        self._reached_s = self._now()
        if entry is not None:
            self._seen = (entry.number, entry.digest())
        if entry is None or why_over(entry, chain, now_s=self._now()):
            self._end("", chain)
            return
        current = self._slot.current
        if current is None or current.generation != entry.generation:
            self._end("", chain)  # the champion that it is compared with does not serve here yet
            return
        self._follow(entry, chain)

    def _follow(self, entry: CanaryEntry, chain: Chain) -> None:
        assert chain.head is not None, "an entry that is not over has a head"
        digest = entry.digest()
        if self._failed[0] == digest and self._now() - self._failed[1] < RETRY_S:
            return
        beside = self._slot.beside
        if beside is not None and beside.record == digest:
            return
        try:
            record = verify_staged(self._store, self._keys.trusted(), entry, chain.head.entry.version)
            if self._loaded is None or self._loaded[0] != entry.manifest:
                self._loaded = None  # two candidates at once are never in memory
                predictor = self._loader.load(record, entry.generation)
                predictor.warm_up()
                self._loaded = (entry.manifest, predictor)
            self._slot.put_beside(
                Beside(
                    predictor=self._loaded[1],
                    share=entry.share,
                    shadow=entry.phase == "shadow",
                    salt=entry.work_key,
                    expires_s=entry.expires_s,
                    record=digest,
                )
            )
        except Exception:
            self._failed = (digest, self._now())
            raise
        self._slot.beside_error = ""
        logger.info("%s: version %s: %s, share %g", self._name, entry.version, entry.phase, entry.share)

    def _end(self, why: str, chain: Chain | None = None) -> None:
        """The champion alone answers from now on. `why`: what is wrong; empty when it is simply over. `chain`: the
        ledger; a candidate that its head promotes stays loaded for whoever serves it."""
        beside = self._slot.beside
        self._slot.put_beside(None)
        head = chain.head.entry if chain is not None and chain.head is not None else None
        promoted = self._loaded is not None and head is not None and self._loaded[0] == head.manifest
        self._promoted, self._loaded = self._loaded if promoted else None, None
        if why and why != self._slot.beside_error:
            logger.error("the canary of %s is not followed: %s", self._name, why)
        elif beside is not None and not why:
            logger.info("%s: the canary of version %s is over", self._name, beside.predictor.version)
        self._slot.beside_error = why
