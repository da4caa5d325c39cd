"""Whether the embedded S3 takes objects, and whether a restart would help.

A disk that was full leaves SeaweedFS's index refusing every write until it is opened again, long after there is room.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from mlratchet.infra.settings import Settings
from mlratchet.infra.stack.prepare import prepare_buckets

PROBE_S = 30.0  # seconds between two writes to a store that takes them
PATIENCE_S = 20.0  # of refusals before a restart
ROOM_BYTES = 200_000_000


class Volumes:
    """Writes now and then, and remembers since when that fails."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._probe_at = 0.0
        self._worked = False  # in this life of the process: one that is starting is given its time
        self._refused_since: float | None = None
        self.writable = False

    def began(self) -> None:
        """The process has been started anew."""
        self._probe_at, self._worked, self._refused_since, self.writable = 0.0, False, None, False

    def look(self) -> None:
        """Write, when it is time to."""
        now = time.monotonic()
        if self.writable and now < self._probe_at:
            return
        self.writable = prepare_buckets(self._settings)
        self._probe_at = now + PROBE_S
        if self.writable:
            self._worked, self._refused_since = True, None
        elif self._refused_since is None:
            self._refused_since = now

    def wants_restart(self) -> bool:
        """It took objects, has not for a while, and the disk is not what keeps it from that."""
        if not self._worked or self._refused_since is None or time.monotonic() - self._refused_since < PATIENCE_S:
            return False
        return has_room(self._settings.home / "data")


def has_room(folder: Path) -> bool:
    """Whether the disk below it could take something."""
    return shutil.disk_usage(folder).free > ROOM_BYTES
