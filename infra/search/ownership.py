"""Who runs a study now: one tuner at a time.

The epoch (a claim) makes a second tuner harmless to the study; this makes it polite: while the first one lives, the
second is refused. On one machine the process says whether it lives; from another machine its sign of life is watched.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil
from mlratchet.infra.search.journal import StudyTakenError
from mlratchet.models.identity.canonical import canonical_json
from mlratchet.models.ports.storage import ObjectNotFound, ObjectStore

BEAT_S = 3.0  # seconds between two signs of life, and
WATCH_S = 20.0  # how long a foreign one is watched for


class Ownership:
    """Sign of life of this tuner: `studies/<study>/tuner.json`, a projection that is overwritten."""

    def __init__(self, store: ObjectStore, study: str) -> None:
        self._store, self._key = store, f"studies/{study}/tuner.json"
        self._beats, self._last_s = 0, 0.0

    def take(self, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Raises ``StudyTakenError`` while another tuner lives."""
        held = self._read()
        if held is not None and not held["ended"] and _lives(held, self._read, sleep):
            raise StudyTakenError(
                f"the study is under way in process {held['pid']} on {held['host']}; wait for it, or end it there: "
                "the study is kept and goes on with the same command"
            )
        self.beat(force=True)

    def _read(self) -> dict[str, Any] | None:
        try:
            held: dict[str, Any] = json.loads(self._store.get(self._key))
        except ObjectNotFound:
            return None
        return held

    def beat(self, *, force: bool = False, ended: bool = False) -> None:
        """Say that this process is alive, at most every few seconds."""
        if not force and time.monotonic() - self._last_s < BEAT_S:
            return
        self._beats, self._last_s = self._beats + 1, time.monotonic()
        me = psutil.Process()
        sign = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_s": me.create_time(),
            "beats": self._beats,
            "ended": ended,
        }
        self._store.put(self._key, canonical_json(sign))

    def give_up(self) -> None:
        """The study is free."""
        self.beat(force=True, ended=True)


def _lives(held: dict[str, Any], read: Callable[[], dict[str, Any] | None], sleep: Callable[[float], None]) -> bool:
    if held["host"] == socket.gethostname():
        if held["pid"] == os.getpid():
            return False
        try:
            process = psutil.Process(held["pid"])
            # a pid is used again after a while: the time of birth tells
            return abs(process.create_time() - held["started_s"]) < 1.0 and process.status() != "zombie"
        except psutil.NoSuchProcess:
            return False
    deadline = time.monotonic() + WATCH_S
    while time.monotonic() < deadline:
        sleep(BEAT_S)
        if read() != held:
            return True
    return False
