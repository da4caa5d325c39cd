"""What the ranks of an attempt report, signed: markers of checkpoints and the result.

Ranks run the user's code and hold no key, and what lies in the bucket is anybody's. So rank 0 says through the
attempt's own channel what it wrote, and the process that started it, which has the key, publishes that and no more.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from mlratchet.infra.keys.files import InstalledKeys
from mlratchet.infra.settings import Settings
from mlratchet.infra.storage.opening import open_bucket, shard_cache
from mlratchet.models.errors import RatchetError, SecurityError
from mlratchet.models.identity.claim import claim_key
from mlratchet.models.identity.signed_records import RecordStore
from mlratchet.models.ports.storage import ObjectStore
from mlratchet.models.training.job import StaleAttemptError, TrainJob
from mlratchet.models.training.result import TrainResult, publish_result, weights_key

logger = logging.getLogger(__name__)
CHECKPOINT = "checkpoint"  # the report that asks for a marker


def signing_store(settings: Settings) -> RecordStore:
    """The store bucket for the process with the key."""
    bucket = open_bucket(settings)
    bucket.files = shard_cache(settings, bucket)
    return RecordStore(bucket, InstalledKeys(settings))


class Reports:
    """Of one attempt: hears every event and passes on those that are for people. Thread-safe."""

    def __init__(self, store: ObjectStore, job: TrainJob, on_event: Callable[[dict[str, Any]], None]) -> None:
        self._store, self._job, self._on_event = store, job, on_event
        self._waiting: dict[str, Any] | None = None  # the newest marker that the store did not take
        self._newest_step = -1  # what a restart repeats is heard once
        self._lock = threading.Lock()

    def __call__(self, event: dict[str, Any]) -> None:
        """One event of rank 0."""
        if event["event"] != CHECKPOINT:
            self._on_event(event)
        else:
            self._hear(event)

    def checkpoint(self, said: bytes) -> None:
        """A checkpoint of rank 0, as JSON with `step` and `marker`, through the attempt's own channel; its marker is
        published when this returns, unless the store is away. Raises ``ValueError`` for what is no JSON."""
        event = json.loads(said)
        if isinstance(event, dict):
            self._hear(event)

    def _hear(self, event: dict[str, Any]) -> None:
        step = event.get("step")
        if not isinstance(event.get("marker"), dict) or not isinstance(step, int):
            return
        with self._lock:
            if step > self._newest_step:
                self._waiting, self._newest_step = event, step
            self._mark()

    def _mark(self) -> None:
        if self._waiting is None:
            return
        job, event = self._job, self._waiting
        from mlratchet.models.training.checkpoint import publish_marker  # torch: a command that reads has none

        try:
            if not self._overtaken():
                publish_marker(
                    self._store,
                    job.work_key,
                    job.epoch,
                    int(event["step"]),
                    event["marker"],
                    keep=job.train.checkpoint.keep,
                )
        except RatchetError as error:  # the next one takes its place: the training goes on
            logger.warning("the checkpoint at step %s has no marker yet: %s", event["step"], error)
            return
        except (ValueError, TypeError) as error:  # it is no marker, whoever of the ranks made it
            logger.warning("the checkpoint at step %s has none: %s", event["step"], error)
        self._waiting = None

    def _overtaken(self) -> bool:
        """Once a newer attempt has claimed the work, nothing more of this one is signed."""
        return self._store.exists(claim_key(self._job.work_key, self._job.epoch + 1))

    def finish(self, result: TrainResult) -> TrainResult:
        """Publish the result. Raises ``StaleAttemptError`` when a newer attempt has the work, ``SecurityError`` for
        weights that are not this attempt's."""
        job = self._job
        wanted = "" if job.search else weights_key(job.work_key, job.epoch, result.weights_sha256)
        if result.weights_key != wanted:
            raise SecurityError(
                f"the ranks of work {job.work_key[:12]} report weights at {result.weights_key[:200]!r}, expected "
                f"{wanted!r}"
            )
        if self._overtaken():
            raise StaleAttemptError(f"a newer attempt has work {job.work_key[:12]}; this one (epoch {job.epoch}) ends")
        return publish_result(self._store, job.work_key, job.epoch, result)

    def close(self) -> None:
        """A marker that is still waiting is tried once more. Raises nothing: what ended the attempt is the news."""
        with self._lock:
            self._mark()
