"""The canary of a pipeline, over the adapters of this installation."""

from __future__ import annotations

import time

from mlratchet.infra.ledger.heads import open_heads
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.promotion.canary.entry import CanaryEntry
from mlratchet.models.promotion.canary.steer import CanaryChain
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.models.serving.canary_look import Looked, Watch, look
from mlratchet.tasks.wiring import Adapters


def canary_of(adapters: Adapters, name: str) -> CanaryChain:
    """The chain, and what of it this installation has seen."""
    heads = open_heads(adapters.settings)
    return CanaryChain(
        name=name,
        store=adapters.store,
        keys=adapters.keys,
        seen=lambda: heads.mark(name, "canary"),
        remember=lambda number, digest: heads.keep_mark(name, "canary", number, digest),
    )


def going_on(adapters: Adapters, name: str) -> tuple[CanaryEntry | None, Chain, str]:
    """The newest entry, the ledger, and why the canary is over; the reason is empty while servers follow it."""
    entry, chain = canary_of(adapters, name).newest(), adapters.ledger.chain(name)
    return entry, chain, why_over(entry, chain, now_s=time.time())


def look_now(adapters: Adapters, watch: Watch, entry: CanaryEntry, chain: Chain, *, stopped: str = "") -> Looked:
    """One look; see `models.serving.canary_look`."""
    return look(adapters.store, adapters.keys, watch, entry, chain, now_s=time.time(), stopped=stopped)
