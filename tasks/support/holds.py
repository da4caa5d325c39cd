"""The holds of an installation: the chain in the bucket, held against what this machine has seen of it."""

from __future__ import annotations

import time

from mlratchet.infra.ledger.heads import HeadFiles
from mlratchet.models.monitoring.answers import open_questions
from mlratchet.models.promotion.holds import HoldBook
from mlratchet.tasks.wiring import Adapters

QUESTION_S = 30 * 86_400.0  # a question that nobody answered for longer is history


def questions_of(adapters: Adapters, name: str) -> list[str]:
    """Ids of findings about which a person is asked."""
    return open_questions(adapters.store, name, since_s=time.time() - QUESTION_S)


def hold_book(adapters: Adapters) -> HoldBook:
    """What may hold pipelines of this installation."""
    heads: HeadFiles | None = adapters.ledger.heads
    return HoldBook(adapters.store, heads)
