"""Optuna's journal in the bucket: every entry is one conditional create, so a study is whole wherever it stopped.

`studies/<study>/journal/<number>.json`, numbered without gaps. A writer that lost the race for a number reads who won
and takes the next one. Every entry carries the epoch of the tuner that wrote it (`models/identity/claim.py`): once an
entry of a newer epoch is there, later ones of an older epoch are read by nobody, so a tuner that was overtaken and
wakes up cannot write into the study.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from mlratchet.models.errors import InfrastructureError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.identity.signed_records import ForeignRecord
from mlratchet.models.ports.storage import ObjectExists, ObjectNotFound, ObjectStore
from optuna.storages.journal import BaseJournalBackend

READERS = 16  # threads that read a long journal at start


class StudyTakenError(InfrastructureError):
    """Another tuner has the study; nothing this one does is read any more."""

    code = "STUDY"


class BucketJournal(BaseJournalBackend):
    """Of one study. Thread-safe; several readers, one current writer.

    Args:
        store: The store bucket.
        study: Identity of the study.
        epoch: This tuner's; 0 reads only.
    """

    def __init__(self, store: ObjectStore, study: str, *, epoch: int = 0) -> None:
        self._store, self._folder, self._epoch = store, f"studies/{study}/journal", epoch
        self._lock = threading.Lock()
        self._entries = 0  # read so far
        self._newest_epoch = 0
        self._logs: list[dict[str, Any]] = []
        with self._lock:
            self._read_all()
        if epoch:
            self.append_logs([])  # from here on entries of earlier epochs count no more

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:09d}.json"

    def _read_all(self) -> None:
        """The journal so far, with many requests at once."""
        keys = [info.key for info in self._store.list(f"{self._folder}/")]
        expected = [self._key(number) for number in range(len(keys))]
        with ThreadPoolExecutor(READERS) as pool, suppress(ForeignRecord):  # the journal ends before it
            for data in pool.map(self._store.get, keys if keys == expected else []):
                self._take(json.loads(data))
        self._read_new()

    def _read_new(self) -> None:
        while True:
            try:
                data = self._store.get(self._key(self._entries))
            except ObjectNotFound:
                return
            self._take(json.loads(data))

    def _take(self, entry: dict[str, Any]) -> None:
        self._entries += 1
        if entry["epoch"] >= self._newest_epoch:
            self._newest_epoch = entry["epoch"]
            self._logs.extend(entry["logs"])

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """See Optuna."""
        with self._lock:
            if not self._epoch:
                self._read_new()
            return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """See Optuna. Raises ``StudyTakenError`` once a newer tuner has written."""
        entry = {"epoch": self._epoch, "token": uuid.uuid4().hex, "logs": logs}
        data = canonical_json(json.loads(json.dumps(entry)))  # enumerations become numbers
        with self._lock:
            while True:
                if self._newest_epoch > self._epoch:
                    raise StudyTakenError(
                        f"attempt {self._epoch} at study {self._folder.split('/')[1][:12]} was overtaken by attempt "
                        f"{self._newest_epoch}, which goes on with it; `ratchet tune` shows where it is"
                    )
                fault_point("journal.before_entry")
                try:
                    self._store.create(self._key(self._entries), data)
                except ObjectExists:
                    self._read_new()
                    continue
                self._take(json.loads(data))
                return
