"""Batches that were scored: rows that came in and scores that went out lie in buckets of the user's, where nothing is
erased; files there that hold something of a person are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlratchet.models.erasure.traces import Traces
from mlratchet.models.errors import RatchetError
from mlratchet.models.identity.stored import stored_document
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.scoring.job import ASIDE, SCORES, manifest_key
from mlratchet.models.scoring.places import BucketPlace, place_of_uri

FOLDER = "scores/"  # of the signed records


class Batches:
    """Of a pipeline, as its signed manifests say."""

    def __init__(
        self, store: ObjectStore, open_bucket: Callable[[str], ObjectStore] | None, pipeline: str, most_bytes: int
    ) -> None:
        """`store`: a `RecordStore`. `open_bucket`: by name; None: no other bucket can be looked into here.
        `most_bytes`: of a file."""
        self._store, self._open, self._pipeline, self._most = store, open_bucket, pipeline, most_bytes

    def holding(self, traces: Traces) -> Iterator[str]:
        """A line for each file that holds something of theirs, or into which nobody can look."""
        places: dict[BucketPlace, None] = {}
        for key in self._manifests():
            try:
                places |= dict.fromkeys(self._places_of(key))
            except RatchetError as error:  # planted, or by a key that was revoked
                yield f"{error}; a batch may lie somewhere, and was not looked into"
        for place in places:
            try:
                yield from self._of(place, traces)
            except RatchetError as error:
                yield f"{place}: a batch lies there and could not be looked into: {error}"

    def _manifests(self) -> list[str]:
        return [info.key for info in self._store.list(FOLDER) if info.key == manifest_key(info.key.split("/")[1])]

    def _places_of(self, key: str) -> list[BucketPlace]:
        """Of a batch of this pipeline. Raises ``ObjectNotFound`` or ``SecurityError`` for a manifest that is not ours
        and ``ConfigurationError`` for one that names no place."""
        said = stored_document(self._store, key, "pipeline", "target", "source")
        if said["pipeline"] != self._pipeline:
            return []
        target, source = place_of_uri(said["target"], f"{key}: output"), place_of_uri(said["source"], f"{key}: input")
        return [
            *(BucketPlace(bucket=target.bucket, prefix=f"{target.prefix}{part}") for part in (SCORES, ASIDE)), source,
        ]  # fmt: skip

    def _of(self, place: BucketPlace, traces: Traces) -> Iterator[str]:
        if self._open is None:
            yield f"{place}: a batch lies there and may hold something of theirs; look there"
            return
        bucket = self._open(place.bucket)
        for info in bucket.list(place.prefix):
            where = f"s3://{bucket.bucket}/{info.key}"
            if info.size_bytes > self._most:
                yield f"{where}: of a batch, has {info.size_bytes} bytes and was not searched"
            elif traces.in_text(info.key.encode()) or traces.in_object(bucket.get(info.key)):
                yield f"{where}: of a batch, holds something of theirs; it is yours to delete"
