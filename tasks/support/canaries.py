"""The canary of a pipeline, over the adapters of this installation."""

from __future__ import annotations

import time
from contextlib import suppress

from mlratchet.infra.ledger.heads import open_heads
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_records import ForeignRecord
from mlratchet.models.ledger.chain import Chain
from mlratchet.models.promotion.canary.chain import read_entry
from mlratchet.models.promotion.canary.entry import CANARIES, CanaryEntry
from mlratchet.models.promotion.canary.steer import CanaryChain
from mlratchet.models.promotion.canary.verify import why_over
from mlratchet.models.serving.canary_look import CanaryWatch, Looked, look
from mlratchet.models.serving.canary_reader import CanaryReader
from mlratchet.tasks.support.brought import labels_bucket
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


def canary_reader(adapters: Adapters) -> CanaryReader:
    """Of the log, for the looks of one process at one canary."""
    return CanaryReader(adapters.store, adapters.keys, lambda labels: labels_bucket(adapters, labels))


def look_now(
    reader: CanaryReader, watch: CanaryWatch, entry: CanaryEntry, chain: Chain, *, stopped: str = ""
) -> Looked:
    """One look; see `models.serving.canary_look`."""
    return look(reader, watch, entry, chain, now_s=time.time(), stopped=stopped)


def canary_entries(adapters: Adapters, name: str) -> list[CanaryEntry]:
    """Every entry of the chain that is ours, oldest first; what is not ours is for an audit."""
    found = []
    for info in sorted(adapters.store.list(f"{CANARIES}{name}/"), key=lambda info: info.key):
        with suppress(ForeignRecord, SecurityError):
            found.append(read_entry(adapters.store, name, info.key))
    return found


def canaries_since(adapters: Adapters, name: str, since_s: float) -> list[CanaryEntry]:
    """The newest entry of each canary that began after a moment, oldest first."""
    entries = canary_entries(adapters, name)
    return list({entry.began_s: entry for entry in entries if entry.began_s >= since_s}.values())
