"""From the spool to the bucket: each file, then its record, in the order of the chain; what fails is tried again."""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlratchet.infra.inference_log.spool import LogSpool, WaitingFile
from mlratchet.infra.machine.atomic import write_private
from mlratchet.models.errors import RatchetError
from mlratchet.models.fault_points import fault_point
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.chain import Head, WriterChain
from mlratchet.models.inference_log.file import Holds, Stretch, media_key
from mlratchet.models.ports.storage import ObjectStore

logger = logging.getLogger(__name__)
AGAIN_S = (0.5, 1.0, 2.0, 5.0)  # after a failure; the last of them from then on


class Heads:
    """The newest record of each chain as this writer remembers it, outside of the bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _file(self, pipeline: str, holds: Holds) -> Path:
        return self._folder / f"{pipeline}.{holds}.json"

    def read(self, pipeline: str, holds: Holds) -> Head | None:
        """None where nothing is remembered."""
        try:
            said = json.loads(self._file(pipeline, holds).read_text())
        except (OSError, ValueError):
            return None
        return Head(**{**said, "servers": {name: Stretch(**one) for name, one in said["servers"].items()}})

    def chains(self) -> list[tuple[str, Holds]]:
        """Of which something is remembered."""
        names = [file.name.split(".") for file in sorted(self._folder.glob("*.*.json"))]
        return [(parts[0], "feedback" if parts[1] == "feedback" else "answers") for parts in names]

    def write(self, pipeline: str, holds: Holds, head: Head) -> None:
        """Of mode 0600."""
        said: dict[str, Any] = asdict(head)
        said["servers"] = {name: one.model_dump() for name, one in head.servers.items()}
        write_private(self._file(pipeline, holds), json.dumps(said))


class Uploader:
    """Empties a spool. `upload_all` is called by one thread at a time."""

    def __init__(self, spool: LogSpool, heads: Heads, store: ObjectStore, keys: Keys, *, writer: str) -> None:
        self._spool, self._heads, self._store, self._keys, self._writer = spool, heads, store, keys, writer
        self._chains: dict[tuple[str, Holds], WriterChain] = {}
        self.trouble = ""  # why the newest try failed

    def chain(self, pipeline: str, holds: Holds) -> WriterChain:
        """As far as it got. Raises ``StorageError``."""
        if (pipeline, holds) not in self._chains:
            self._chains[pipeline, holds] = WriterChain(
                self._store, self._keys, pipeline=pipeline, writer=self._writer, holds=holds,
                head=self._heads.read(pipeline, holds),
            )  # fmt: skip
        return self._chains[pipeline, holds]

    def upload_all(self) -> bool:
        """All that waits; False where something failed, of which `trouble` tells."""
        for entry in list(self._spool.entries()):
            try:
                self._upload(entry)
            except (RatchetError, OSError) as error:
                if not self.trouble:
                    logger.warning("inference log of %s: %s; it waits on the disk", entry.pipeline, error)
                self.trouble = str(error)
                self._chains.pop((entry.pipeline, entry.holds), None)  # what the bucket holds is read anew
                return False
        if self.trouble:
            logger.info("inference log: all that waited is in the bucket")
        self.trouble = ""
        return True

    def _upload(self, entry: WaitingFile) -> None:
        data = self._spool.data(entry)
        if data is None:
            return
        if entry.facts is None:
            self._store.create(media_key(entry.pipeline, entry.digest), data)
        else:
            chain = self.chain(entry.pipeline, entry.holds)
            if not data or chain.head.sha256 != entry.digest:  # else it was recorded before a kill
                chain.append(data, entry.facts)
            fault_point("log.after_record")
            self._heads.write(entry.pipeline, entry.holds, chain.head)
            fault_point("log.after_head")
        self._spool.remove(entry)

    def run(self, stopping: threading.Event, work: threading.Event) -> None:
        """Whenever there is work, until asked to stop."""
        failures = 0
        while not stopping.is_set():
            done = self.upload_all()
            failures = 0 if done else failures + 1
            work.wait(1.0 if done else AGAIN_S[min(failures, len(AGAIN_S)) - 1])
            if done:
                work.clear()
