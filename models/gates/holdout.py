"""How often test rows have gated before: a holdout that is asked again and again wears out.

A use is one work key. Deliveries grow, so rows are recognised by their ids, not by their dataset: an earlier work key
of the same pipeline counts when at least half of today's rows were among the rows it was judged on. Judging a work key
again (a retry, a new policy) counts once.

Ids are kept as a bottom-k sketch, their `SKETCH` smallest 64-bit hashes (Cohen and Kaplan, PODC 2007): exact up to
`SKETCH` rows, beyond that a share of one half is found within 0.03 (three standard deviations).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from mlratchet.models.identity.canonical import canonical_json, digest, digest_bytes
from mlratchet.models.identity.signed_records import write_over
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.reading import side_by_side
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore

SKETCH = 4096
LEAST_OVERLAP = 0.5  # of today's rows
SHORT = 16  # digits of a work key, which tell those of one pipeline apart
NUMBERED = re.compile(r"^\d{8}\.json$")  # an entry of the chain

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


@dataclass(frozen=True, kw_only=True)
class Wear:
    """How worn some test rows are."""

    uses: int  # earlier work keys that were judged on them; -1 when records of uses are gone, so that nobody knows
    number: int  # of the newest entry of the chain
    digest: str  # SHA-256 hex of that entry


@dataclass(frozen=True)
class _Entry:
    number: int
    previous: str  # digest of the entry before
    uses: dict[str, list[str]]  # rows digest -> work keys, shortened; all so far
    sketches: dict[str, str]  # rows digest -> SHA-256 hex of its sketch

    def digest(self) -> str:
        return digest(asdict(self))


NOTHING = _Entry(0, "", {}, {})


def record_use(
    store: ObjectStore, pipeline: str, work_key: str, ids: Sequence[str], *, seen: tuple[int, str] = (0, "")
) -> Wear:
    """Record that `work_key` is judged on these rows.

    `holdout/<pipeline>/<number>.json` is a signed chain whose newest entry names every use so far, and
    `holdout/<pipeline>/<rows digest>/rows` holds a sketch. A repetition changes nothing. `seen` is number and digest of
    the newest entry that this installation knows: what was cut from the chain since shows.
    """
    ours = sketch_of(ids)
    rows = digest_bytes(canonical_json(sorted(set(ids))))
    _keep_sketch(store, f"holdout/{pipeline}/{rows}/rows", ours.tobytes())
    while True:
        listed = [info.key.removeprefix(f"holdout/{pipeline}/") for info in store.list(f"holdout/{pipeline}/")]
        newest = _newest(store, pipeline, listed)
        known = work_key[:SHORT] in newest.uses.get(rows, ())
        entry = newest if known else _after(newest, rows, work_key, digest_bytes(ours.tobytes()))
        with suppress(ObjectExists):
            if not known:
                store.create(_key(pipeline, entry.number), canonical_json(asdict(entry)))
            break
    cut = newest.number < seen[0] or (newest.number == seen[0] and newest.digest() != seen[1] and seen[0] > 0)
    uses = _count(store, pipeline, entry, rows, ours, work_key, _unsigned(listed)) if not cut else -1
    return Wear(uses=uses, number=entry.number, digest=entry.digest())


def _keep_sketch(store: ObjectStore, key: str, sketch: bytes) -> None:
    """Its name is the digest of the ids, from which the sketch follows: other bytes there are somebody else's."""
    try:
        store.create(key, sketch)
    except ObjectExists:
        write_over(store, key, sketch)


def _key(pipeline: str, number: int) -> str:
    return f"holdout/{pipeline}/{number:08d}.json"


def _after(newest: _Entry, rows: str, work_key: str, sketch: str) -> _Entry:
    uses = {**newest.uses, rows: sorted({*newest.uses.get(rows, ()), work_key[:SHORT]})}
    return _Entry(newest.number + 1, newest.digest() if newest.number else "", uses, {**newest.sketches, rows: sketch})


def _newest(store: ObjectStore, pipeline: str, listed: list[str]) -> _Entry:
    """The newest entry that verifies; what somebody planted is none."""
    for name in sorted((name for name in listed if NUMBERED.match(name)), reverse=True):
        with suppress(ObjectNotFound, ValueError, TypeError, KeyError):
            found = _Entry(**stored_document(store, f"holdout/{pipeline}/{name}"))
            if found.number == int(name.removesuffix(".json")):
                return found
    return NOTHING


def _unsigned(listed: list[str]) -> dict[str, list[str]]:
    """Uses as they were recorded before they were signed: more of them only makes a gate stricter."""
    found: dict[str, list[str]] = {}
    for name in listed:
        rows, _, work = name.partition("/")
        if work.endswith(".json"):
            found.setdefault(rows, []).append(work.removesuffix(".json")[:SHORT])
    return found


def _count(
    store: ObjectStore,
    pipeline: str,
    entry: _Entry,
    rows: str,
    ours: Array,
    work_key: str,
    unsigned: dict[str, list[str]],
) -> int:
    """Earlier work keys judged on at least half of these rows."""
    others = [one for one in {*entry.uses, *unsigned} if one != rows]
    alike = side_by_side(
        lambda one: overlap(ours, _load(store, pipeline, one, entry.sketches.get(one))) >= LEAST_OVERLAP, others
    )
    same = [rows, *(one for one, is_alike in zip(others, alike, strict=True) if is_alike)]
    found = {work for one in same for work in (*entry.uses.get(one, ()), *unsigned.get(one, ()))}
    return len(found - {work_key[:SHORT]})


def _load(store: ObjectStore, pipeline: str, rows: str, sketch: str | None) -> Array:
    return np.frombuffer(store.get(f"holdout/{pipeline}/{rows}/rows", sha256=sketch), dtype=np.uint64)
