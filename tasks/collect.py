"""Garbage: checkpoints of finished work. What a ledger, a claim or a running attempt refers to stays."""

from __future__ import annotations

import re
from typing import Any

from mlratchet.models.ports.storage import ObjectStore

CHECKPOINT = re.compile(r"^work/(?P<key>[0-9a-f]{64})/e\d+/checkpoints/")


def collect(store: ObjectStore, *, delete: bool) -> list[dict[str, Any]]:
    """Checkpoints of every work key that has a registration; marker deleted first."""
    registered = {
        info.key.removeprefix("registrations/").removesuffix(".json") for info in store.list("registrations/")
    }
    found = [
        info
        for info in store.list("work/")
        if (match := CHECKPOINT.match(info.key)) is not None and match["key"] in registered
    ]
    found.sort(key=lambda info: (not info.key.endswith("marker.json"), info.key))
    if delete:
        for info in found:
            store.delete(info.key)
    return [{"key": info.key, "size_bytes": info.size_bytes} for info in found]
