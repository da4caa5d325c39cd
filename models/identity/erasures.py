"""What was erased on demand, as signed records: which objects, by digest, and nothing that says whose they were.

`erasures/<pipeline>/<number>.json`, numbered, each with the digest of the one before. A record is published before
anything of it is erased: whatever is missing later is either in a record, or was removed by somebody else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import digest_bytes
from mlratchet.models.identity.record_kinds import kind_of
from mlratchet.models.identity.signed_chain import ChainedEntry, SignedChain
from mlratchet.models.identity.signed_records import ForeignRecord, RevokedRecord, bare, body_of, without_stamp
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from pydantic import Field

logger = logging.getLogger(__name__)

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
    said: str = Field(default="", exclude_if=lambda value: not value)
    """Of a signed record, SHA-256 hex of what it said, without who signed it: as records after it in a chain name it.
    What is made anew under its name is another one."""

    @property
    def place(self) -> str:
        """`bucket/key`."""
        return f"{self.bucket}/{self.key}"


class Erasure(ChainedEntry):
    """What one demand erased from what a pipeline was made of."""

    at_s: float
    actor: str
    objects: tuple[ErasedObject, ...] = Field(strict=False)
    versions: tuple[int, ...] = Field(default=(), strict=False)
    """That were trained on what was erased: they cannot be made again."""
    waiting: tuple[ErasedObject | str, ...] = Field(default=(), strict=False)
    """What the champion of then cannot be replaced without: it goes once another serves. Older records name the place
    alone, `bucket/key`: whatever lies there."""
    shared: tuple[ErasedObject, ...] = Field(default=(), strict=False, exclude_if=lambda value: not value)
    """What another pipeline needs: this one has let go of it, and it goes with the demand of the last."""


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
    waiting: Iterable[ErasedObject] = (),
    shared: Iterable[ErasedObject] = (),
    actor: str,
    at_s: float,
) -> Erasure:
    """Add one, by a `RecordStore` that signs. Raises ``ObjectExists`` where another process adds one now."""
    earlier = [one for one, _ in _read(store, pipeline)]
    return _chain(store, pipeline).create(
        Erasure(
            name=pipeline, number=len(earlier) + 1, previous=earlier[-1].digest() if earlier else "", at_s=at_s,
            actor=actor, objects=tuple(objects), versions=tuple(versions), waiting=tuple(waiting),
            shared=tuple(shared),
        )
    )  # fmt: skip


def said_by(key: str, data: bytes) -> str:
    """SHA-256 hex of what an object says, whoever signed it; empty for one that is no signed record."""
    if kind_of(key) is None:
        return ""
    try:
        return digest_bytes(body_of(data))
    except (ValueError, RecursionError):  # no JSON: nobody's
        return ""


def erased_records(store: ObjectStore) -> frozenset[tuple[str, str]]:
    """(key, SHA-256 hex of what it said) of every signed record that was erased on demand, by a `RecordStore`; the
    digest is empty where an older record of the erasure did not tell it. None where our records of it are not whole:
    what is gone counts as removed then."""
    try:
        erased = all_erasures(store)
    except SecurityError as error:
        logger.warning("%s", error)
        return frozenset()
    gone = (one for record in erased for one in record.objects if one.key and not one.after)
    return frozenset((one.key, one.said) for one in gone if one.said or kind_of(one.key) is not None)


def all_erasures(store: ObjectStore) -> list[Erasure]:
    """Of every pipeline. Raises as `erasures_of`."""
    return [one for pipeline in _pipelines(store) for one in erasures_of(store, pipeline)]


def _pipelines(store: ObjectStore) -> list[str]:
    return sorted({info.key.split("/")[1] for info in store.list(ERASURES)})


def erased_objects(store: ObjectStore) -> Mapping[str, Erasure]:
    """`bucket/key` of everything that was erased whole, of all pipelines -> the record that says so."""
    return {one.place: record for record in all_erasures(store) for one in record.objects if one.key and not one.after}
