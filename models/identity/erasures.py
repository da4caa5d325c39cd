"""What was erased on demand, as signed records: which objects, by digest, and nothing that says whose they were.

`erasures/<pipeline>/<number>.json`, numbered, each with the digest of the one before. A record is published before
anything of it is erased: whatever is missing later is either in a record, or was removed by somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.signed_chain import ChainedEntry, SignedChain
from mlratchet.models.identity.signed_records import ForeignRecord, RevokedRecord, bare, without_stamp
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field

ERASURES = "erasures/"


class ErasedObject(StrictModel):
    """One object."""

    bucket: str
    key: str
    """Empty where the name itself told of the person."""
    before: str
    """SHA-256 hex of its bytes."""
    after: str = ""
    """The same of what lies there since; empty: nothing does."""


class Erasure(ChainedEntry):
    """What one demand erased from what a pipeline was made of."""

    at_s: float
    actor: str
    objects: tuple[ErasedObject, ...] = Field(strict=False)
    versions: tuple[int, ...] = Field(default=(), strict=False)
    """That were trained on what was erased: they cannot be made again."""
    waiting: tuple[str, ...] = Field(default=(), strict=False)
    """`bucket/key` of what the champion of then cannot be replaced without: it goes once another serves."""


def erasures_of(store: ObjectStore, pipeline: str) -> list[Erasure]:
    """All of a pipeline that count, oldest first, by a `RecordStore`: what nobody of ours signed is none, and what a
    revoked key signed excuses nothing. Raises ``SecurityError`` where one is gone or does not follow the one before."""
    return [one for one, counts in _read(store, pipeline) if counts]


def _read(store: ObjectStore, pipeline: str) -> list[tuple[Erasure, bool]]:
    """Entries of ours, and whether they count."""
    chain, found = _chain(store, pipeline), list[tuple[Erasure, bool]]()
    for key in sorted(info.key for info in store.list(chain.folder)):
        try:
            one, counts = chain.read(key), True
        except RevokedRecord:  # its signature holds
            one, counts = chain.parse(key, without_stamp(json.loads(bare(store).get(key)))), False
        except (ForeignRecord, ObjectNotFound):
            continue
        if (one.number, one.previous) != (len(found) + 1, found[-1][0].digest() if found else ""):
            raise SecurityError(
                f"{store.bucket}/{key}: does not follow the entry before it; one was removed or changed"
            )
        found.append((one, counts))
    return found


def _chain(store: ObjectStore, pipeline: str) -> SignedChain[Erasure]:
    return SignedChain(store, ERASURES, pipeline, Erasure, what="the record of an erasure")


def publish_erasure(
    store: ObjectStore,
    pipeline: str,
    *,
    objects: Iterable[ErasedObject],
    versions: Iterable[int],
    waiting: Iterable[str] = (),
    actor: str,
    at_s: float,
) -> Erasure:
    """Add one, by a `RecordStore` that signs. Raises ``ObjectExists`` where another process adds one now."""
    earlier = [one for one, _ in _read(store, pipeline)]
    return _chain(store, pipeline).create(
        Erasure(
            name=pipeline, number=len(earlier) + 1, previous=earlier[-1].digest() if earlier else "", at_s=at_s,
            actor=actor, objects=tuple(objects), versions=tuple(versions), waiting=tuple(waiting),
        )
    )  # fmt: skip


def erased_objects(store: ObjectStore) -> Mapping[str, Erasure]:
    """`bucket/key` of everything that was erased whole, of all pipelines -> the record that says so."""
    pipelines = sorted({info.key.split("/")[1] for info in store.list(ERASURES)})
    return {
        f"{one.bucket}/{one.key}": record
        for pipeline in pipelines
        for record in erasures_of(store, pipeline)
        for one in record.objects
        if one.key and not one.after
    }
