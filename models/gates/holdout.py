"""How often test rows have gated before: a holdout that is asked again and again wears out.

A use is one work key. Deliveries grow, so rows are recognised by their ids, not by their dataset: an earlier work key
of the same pipeline counts when at least half of today's rows were among the rows it was judged on. Judging a work key
again (a retry, a new policy) counts once.

Ids are kept as a bottom-k sketch, their `SKETCH` smallest 64-bit hashes (Cohen and Kaplan, PODC 2007): exact up to
`SKETCH` rows, beyond that a share of one half is found within 0.03 (three standard deviations).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from mlratchet.models.identity.canonical import canonical_json, digest_bytes
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectStore

SKETCH = 4096
LEAST_OVERLAP = 0.5  # of today's rows

Array = np.ndarray[Any, Any]


def sketch_of(ids: Sequence[str]) -> Array:
    """(min(N, SKETCH),) uint64, ascending: the smallest hashes of the ids."""
    hashes = [int.from_bytes(hashlib.sha256(one.encode()).digest()[:8], "big") for one in set(ids)]
    return np.sort(np.asarray(hashes, dtype=np.uint64))[:SKETCH]


def overlap(ours: Array, theirs: Array) -> float:
    """Share of the rows of `ours` that are among the rows of `theirs` (0..1), from their sketches."""
    if not len(ours) or not len(theirs):
        return 0.0
    known = min(ours[-1], theirs[-1]) if len(theirs) == SKETCH else ours[-1]  # above it `theirs` says nothing
    asked = ours[ours <= known]
    return float(np.isin(asked, theirs).mean()) if len(asked) else 0.0


def record_use(store: ObjectStore, pipeline: str, work_key: str, ids: Sequence[str]) -> int:
    """Record that `work_key` is judged on these rows; returns how many earlier work keys were judged on them.

    `holdout/<pipeline>/<rows digest>/rows` holds the sketch, `.../<work key>.json` marks a use; both by conditional
    create, so a repetition changes nothing.
    """
    ours = sketch_of(ids)
    rows = digest_bytes(canonical_json(sorted(set(ids))))
    uses: dict[str, set[str]] = {}  # rows digest -> work keys
    for info in store.list(f"holdout/{pipeline}/"):
        digest, _, name = info.key.removeprefix(f"holdout/{pipeline}/").partition("/")
        if name.endswith(".json"):
            uses.setdefault(digest, set()).add(name.removesuffix(".json"))
    store.create(f"holdout/{pipeline}/{rows}/rows", ours.tobytes())
    store.create(f"holdout/{pipeline}/{rows}/{work_key}.json", b"{}")
    others = [digest for digest in uses if digest != rows]
    alike = side_by_side(lambda digest: overlap(ours, _load(store, pipeline, digest)) >= LEAST_OVERLAP, others)
    same = [rows, *(digest for digest, is_alike in zip(others, alike, strict=True) if is_alike)]
    return len(set().union(*(uses.get(digest, set()) for digest in same)) - {work_key})


def _load(store: ObjectStore, pipeline: str, digest: str) -> Array:
    return np.frombuffer(store.get(f"holdout/{pipeline}/{digest}/rows"), dtype=np.uint64)
