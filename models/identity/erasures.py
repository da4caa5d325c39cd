"""What was erased on demand, as signed records: which objects, by digest, and nothing that says whose they were.

`erasures/<pipeline>/<number>.json`, numbered, each with the digest of the one before. A record is published before
anything of it is erased: whatever is missing later is either in a record, or was removed by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlratchet.models.config import StrictModel
from mlratchet.models.errors import SecurityError
from mlratchet.models.identity.canonical import canonical_json, digest
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectStore
from pydantic import Field, ValidationError

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


class Erasure(StrictModel):
    """What one demand erased."""

    format: int = 1
    pipeline: str
    number: int = Field(ge=1)
    previous: str
    """SHA-256 hex of the record before, without who signed it; empty for the first."""
    at_s: float
    actor: str
    objects: tuple[ErasedObject, ...] = Field(strict=False)
    versions: tuple[int, ...] = Field(default=(), strict=False)
    """That were trained on what was erased: they cannot be made again."""
    waiting: tuple[str, ...] = Field(default=(), strict=False)
    """`bucket/key` of what the champion of then cannot be replaced without: it goes once another serves."""

    def digest(self) -> str:
        """SHA-256 hex of the record, without who signed it."""
        return digest(self.model_dump(mode="json"))


def erasure_key(pipeline: str, number: int) -> str:
    """Where a record is published."""
    return f"{ERASURES}{pipeline}/{number:08d}.json"


def erasures_of(store: ObjectStore, pipeline: str) -> list[Erasure]:
    """All of a pipeline, oldest first, by a `RecordStore`. Raises ``SecurityError`` where one is gone or does not
    follow the one before, ``ForeignRecord`` for one that nobody of ours signed."""
    found: list[Erasure] = []
    for number, info in enumerate(store.list(f"{ERASURES}{pipeline}/"), 1):
        where = f"{store.bucket}/{info.key}"
        try:
            one = Erasure.model_validate(stored_document(store, info.key, "pipeline", "actor"))
        except ValidationError as error:
            raise SecurityError(f"{where}: is not the record of an erasure; it was changed") from error
        before = found[-1].digest() if found else ""
        if info.key != erasure_key(pipeline, number) or (one.pipeline, one.number) != (pipeline, number):
            raise SecurityError(f"{where}: expected erasure {number} of {pipeline}; one was removed or added")
        if one.previous != before:
            raise SecurityError(f"{where}: does not follow the record before it")
        found.append(one)
    return found


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
    earlier = erasures_of(store, pipeline)
    made = Erasure(
        pipeline=pipeline, number=len(earlier) + 1, previous=earlier[-1].digest() if earlier else "", at_s=at_s,
        actor=actor, objects=tuple(objects), versions=tuple(versions), waiting=tuple(waiting),
    )  # fmt: skip
    store.create(erasure_key(pipeline, made.number), canonical_json(made.model_dump(mode="json")))
    return made


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
