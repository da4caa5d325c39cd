"""The holds of an installation: the chain in the bucket, held against what this machine has seen of it."""

from __future__ import annotations

from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.wiring import Adapters


def hold_book(adapters: Adapters) -> HoldBook:
    """What may hold pipelines of this installation."""
    heads: HeadFiles | None = adapters.ledger.heads
    return HoldBook(adapters.store, heads)
