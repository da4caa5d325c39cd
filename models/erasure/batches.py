"""Batches that were scored: rows that came in and scores that went out lie in buckets of the user's, where nothing is
erased; files there that hold something of a person are told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from mlratchet.models.erasure.traces import Traces
from mlratchet.models.errors import RatchetError
from mlratchet.models.identity.signed_records import body_of
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.scoring.job import ASIDE, SCORES, manifest_key
from mlratchet.models.scoring.places import BucketPlace, place_of_uri

FOLDER = "scores/"  # of the signed records


class Batches:
    """Of a pipeline, as its signed manifests say."""

    def __init__(
        self, store: ObjectStore, open_bucket: Callable[[str], ObjectStore] | None, pipeline: str, most_bytes: int
    ) -> None:
        """`open_bucket`: by name; None: no other bucket can be looked into here. `most_bytes`: of a file."""
        self._store, self._open, self._pipeline, self._most = store, open_bucket, pipeline, most_bytes

    def holding(self, traces: Traces) -> Iterator[str]:
        """A line for each file that holds something of theirs, or into which nobody can look."""
        for place in dict.fromkeys(self._places()):
            try:
                yield from self._of(place, traces)
            except RatchetError as error:
                yield f"{place}: a batch lies there and could not be looked into: {error}"

    def _places(self) -> Iterator[BucketPlace]:
        jobs: set[str] = set()
        for info in self._store.list(FOLDER):
            job = info.key.split("/")[1]
            if job in jobs:
                continue
            jobs.add(job)
            if not self._store.exists(manifest_key(job)):
                continue
            said = json.loads(body_of(self._store.get(manifest_key(job))))
            if said.get("pipeline") == self._pipeline:
                target, source = place_of_uri(said["target"], "output"), place_of_uri(said["source"], "input")
                for part in (SCORES, ASIDE):
                    yield BucketPlace(bucket=target.bucket, prefix=f"{target.prefix}{part}")
                yield source

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
