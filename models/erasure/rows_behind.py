"""Which stored rows, requests and the like the decisions about a version rest on."""

from __future__ import annotations

import json
from functools import cached_property

from mlratchet.models.garbage.kinds import words_in
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore
from mlratchet.models.registration.record import Registration

OF_ROWS = ("rows/", "requests/", "attributions/", "quarantine/", "profiles/", "nodes/")  # made of a dataset's rows


class RowsBehind:
    """Of every version of a store."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def of(self, record: Registration) -> set[str]:
        """Keys that decisions about a version name."""
        return self._by_work.get(record.work_key, set())

    @cached_property
    def _by_work(self) -> dict[str, set[str]]:
        """Work key -> keys below `OF_ROWS` that its decisions name, or the evidence that those name."""
        there = {
            word: info.key
            for folder in OF_ROWS
            for info in self._store.list(folder)
            for word in words_in(info.key.encode())
        }
        found: dict[str, set[str]] = {}
        for info in self._store.list("decisions/"):
            data = self._store.get(info.key)
            words = words_in(data)
            for word in list(words):
                try:
                    words |= words_in(self._store.get(f"evidence/{word}.json"))
                except ObjectNotFound:
                    continue
            try:
                work_key = str(json.loads(data).get("work_key"))
            except (ValueError, AttributeError):  # an audit tells of it
                continue
            found.setdefault(work_key, set()).update(there[word] for word in words & set(there))
        return found
