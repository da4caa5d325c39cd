"""Whether the embedded S3 takes objects, and whether a restart would help.

A disk that was full leaves SeaweedFS's index refusing every write until it is opened again, long after there is room.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

from mlratchet.infra.settings import Settings
from mlratchet.infra.stack.prepare import prepare_buckets

PROBE_S = 30.0  # seconds between two writes to a store that takes them
RETRY_S = 0.5  # and to one that does not
PATIENCE_S = 20.0  # of refusals before a restart
STARTING_S = 180.0  # the same for a process that has not taken an object yet
REFUSALS = 3  # one slow answer is none
ROOM_BYTES = 200_000_000


class Volumes:
    """Writes now and then, in a thread of its own, and remembers since when that fails."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._life: int | None = None  # pid of the process that is asked
        self._worked = False  # in this life
        self._refusals = 0  # in a row
        self._refused_since = 0.0
        self.writable = False
        self._another = threading.Event()  # process that answers

    def watch(self) -> None:
        """In the background, until this process ends."""
        threading.Thread(target=self._watch, name="volumes", daemon=True).start()

    def _watch(self) -> None:
        while True:
            if self._life is not None:
                self.look()
            self._another.wait(PROBE_S if self.writable else RETRY_S)
            self._another.clear()

    def belongs_to(self, pid: int | None) -> None:
        """The process that answers now; another one is given its time to start."""
        if pid != self._life:
            self._life, self._worked, self._refusals, self.writable = pid, False, 0, False
            self._another.set()

    def look(self) -> None:
        """Write, and keep what came of it, unless another process answers meanwhile."""
        life = self._life
        taken = prepare_buckets(self._settings)
        if life != self._life:
            return
        self.writable = taken
        if taken:
            self._worked, self._refusals = True, 0
            return
        self._refusals += 1
        if self._refusals == 1:
            self._refused_since = time.monotonic()

    def wants_restart(self) -> bool:
        """It has refused objects for a while, and the disk is not what keeps it from taking them."""
        patience_s = PATIENCE_S if self._worked else STARTING_S
        if self._refusals < REFUSALS or time.monotonic() - self._refused_since < patience_s:
            return False
        return has_room(self._settings.home / "data")


def has_room(folder: Path) -> bool:
    """Whether the disk below it could take something."""
    return shutil.disk_usage(folder).free > ROOM_BYTES
