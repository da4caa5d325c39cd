"""What a run finds of its work: identity, what exists of it, and who serves."""

from __future__ import annotations

from dataclasses import dataclass

from mlratchet.models.data.preprocess import UNKNOWN, FirstDelivery
from mlratchet.models.ledger.entry import LedgerEntry
from mlratchet.models.registration.record import MadeOf, Registration


@dataclass(frozen=True, kw_only=True)
class Work:
    """The identity of this run's training, and what exists of it."""

    key: str
    dataset_id: str
    snapshot_id: str
    made_of: MadeOf | None = None  # what key and dataset id are digests of
    why: str = ""  # it trains although the champion saw the same raw objects; empty where that needs no word
    done: Registration | None  # the version this work key already has
    champion: LedgerEntry | None  # who serves now
    incumbent: Registration | None  # the champion's record
    first: FirstDelivery = UNKNOWN  # what was decided at the first delivery
    was_champion: bool = False  # this very work served once and was superseded

    @property
    def is_champion(self) -> bool:
        """Whether this very work serves already."""
        return self.champion is not None and self.champion.work_key == self.key
