"""The process that writes the inference log of every pipeline of a home.

It loads no model and runs no code of a user's. It has a key of its own, which signs log files and nothing else, and an
S3 identity that may write below `log/` alone.

Run as ``python -m mlratchet.infra.inference_log.process``; the stack does.
"""

from __future__ import annotations

import logging
import os
import secrets
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType

import orjson
from mlratchet.infra.child.confine import undump
from mlratchet.infra.inference_log.count import CountRead
from mlratchet.infra.inference_log.keys import LogKeys
from mlratchet.infra.inference_log.settings import LogSettings, load_log_settings
from mlratchet.infra.inference_log.socket import listen
from mlratchet.infra.inference_log.spool import LogSpool
from mlratchet.infra.inference_log.upload import Heads, Uploader
from mlratchet.infra.inference_log.writer import LogWriter
from mlratchet.infra.machine.atomic import write_private
from mlratchet.infra.storage.opening import open_bucket
from mlratchet.infra.warm.protocol import may_ask
from mlratchet.models.identity.keys import Keys
from mlratchet.models.inference_log.file import Holds, Stretch
from mlratchet.models.inference_log.frames import HEAD, MOST_BYTES, NotAFrameError, unpack
from mlratchet.models.ports.storage import ObjectStore

logger = logging.getLogger(__name__)
TICK_S = 0.25
TELL_S = 1.0  # between two words to the servers
READ_BYTES = 1 << 20
MOST_DESCRIPTORS = 16  # that come at once: of the bytes of one call, the kernel ends it at each
LAST_READ_S = 2.0  # for what servers have sent
LAST_TRY_S = 5.0  # for what waits on the disk, when this process ends: the rest is uploaded by the next
FOLDER = "inference-log"  # of the home


class Connection:
    """One server's."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer, self.server = peer, ""
        self._held = bytearray()
        self._descriptors: deque[int] = deque()

    def read(self) -> bool:
        """What has arrived; False at its end."""
        try:
            more, descriptors, _, _ = socket.recv_fds(self.peer, READ_BYTES, MOST_DESCRIPTORS)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._descriptors.extend(descriptors)
        self._held += more
        return bool(more)

    def count(self) -> CountRead:
        """That came with the frame. Raises ``NotAFrameError``."""
        try:
            return CountRead(self._descriptors.popleft())
        except (IndexError, ValueError) as error:
            raise NotAFrameError("no count came with it") from error

    def close(self) -> None:
        """With whatever came and was not asked for."""
        self.peer.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    def frames(self, take: Callable[[dict[str, object], memoryview], None]) -> None:
        """Give each whole frame to `take`. Raises ``NotAFrameError``."""
        at = 0
        while len(self._held) - at >= HEAD.size:
            size, text_bytes = HEAD.unpack_from(self._held, at)
            if size > MOST_BYTES or text_bytes > size:
                raise NotAFrameError(f"a frame of {size} bytes")
            if len(self._held) - at - HEAD.size < size:
                break
            frame = bytes(self._held[at + HEAD.size : at + HEAD.size + size])
            at += HEAD.size + size
            take(*unpack(frame, text_bytes))
        del self._held[:at]


class LogProcess:
    """Sockets on the thread that calls `run`, uploads on another."""

    def __init__(self, home: Path, store: ObjectStore, keys: Keys, *, spool_bytes: int) -> None:
        folder = home / FOLDER
        self._spool = LogSpool(folder / "spool", most_bytes=spool_bytes)
        self._heads = Heads(folder / "heads")
        self.name = writer_name(folder)
        self.uploader = Uploader(self._spool, self._heads, store, keys, writer=self.name)
        secret = keys.signer().sign(b"fields", purpose="log-hash").value.encode()
        spooled = spooled_servers(self._spool)
        self.writer = LogWriter(
            self._spool, lambda pipeline, holds: known_servers(self._heads, spooled, pipeline, holds), secret=secret
        )
        self.writer.begin(dict.fromkeys([*self._heads.chains(), *spooled]), time.monotonic())
        self._listener = listen(home)
        self._selector = selectors.DefaultSelector()
        self._connections: set[Connection] = set()
        self.stopping, self._work, self._uploads_end = threading.Event(), threading.Event(), threading.Event()

    def run(self) -> None:
        """Until asked to stop; then what waits becomes files, and is uploaded if S3 answers."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, None)
        uploads = threading.Thread(target=self.uploader.run, args=(self._uploads_end, self._work), daemon=True)
        uploads.start()
        self._work.set()
        told_s = 0.0
        while not self.stopping.is_set():
            self._look()
            if self.writer.tick(time.monotonic(), time.time()):
                self._work.set()
            if time.monotonic() - told_s >= TELL_S:
                told_s = time.monotonic()
                self._tell()
        until_s = time.monotonic() + LAST_READ_S
        while self._look(0.0) and time.monotonic() < until_s:  # what servers have sent and nobody has read
            pass
        self.writer.flush_all(time.time())
        self._uploads_end.set()
        self._work.set()
        uploads.join(LAST_TRY_S)
        if not uploads.is_alive():
            self.uploader.upload_all()
        for connection in list(self._connections):
            self._drop(connection)
        self._listener.close()

    def _look(self, wait_s: float = TICK_S) -> bool:
        """Whether there was anything."""
        ready = self._selector.select(wait_s)
        for key, _ in ready:
            if key.data is None:
                self._accept()
            else:
                self._hear(key.data)
        return bool(ready)

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        if not may_ask(peer):
            peer.close()
            return
        peer.setblocking(False)
        connection = Connection(peer)
        self._connections.add(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection)

    def _hear(self, connection: Connection) -> None:
        open_ = connection.read()
        try:
            connection.frames(lambda said, numbers: self._frame(connection, said, numbers))
        except NotAFrameError as error:
            logger.warning("inference log: a connection is ended: %s", error)
            open_ = False
        if not open_:
            self._drop(connection)

    def _frame(self, connection: Connection, said: dict[str, object], numbers: memoryview) -> None:
        if not connection.server:
            if said.get("k") != "hello":
                raise NotAFrameError("the first frame says no name")
            connection.server = str(said.get("server"))[:32]
            self.writer.connected(connection.server)
        elif said.get("k") == "count":
            self.writer.counts(connection.server, str(said.get("p")), connection.count())
        else:
            self.writer.hear(connection.server, said, numbers, time.monotonic())

    def _drop(self, connection: Connection) -> None:
        self._selector.unregister(connection.peer)
        connection.close()
        self._connections.discard(connection)
        if connection.server:
            self.writer.disconnected(connection.server, time.monotonic())

    def _tell(self) -> None:
        """Servers show it in `/health` and `/metrics`. One that does not listen misses it."""
        trouble = self.uploader.trouble
        for connection in self._connections:
            facts = self.writer.facts(connection.server)
            line = orjson.dumps({name: {**one, "trouble": trouble} for name, one in facts.items()}) + b"\n"
            try:
                connection.peer.send(line, socket.MSG_DONTWAIT)
            except OSError:
                continue


def writer_name(folder: Path) -> str:
    """Of this home's writer, made once: it is part of the names of objects."""
    file = folder / "writer"
    if not file.is_file():
        write_private(file, secrets.token_hex(4))
    return file.read_text()


def spooled_servers(spool: LogSpool) -> dict[tuple[str, Holds], dict[str, Stretch]]:
    """Up to where what waits on the disk brings each chain."""
    found: dict[tuple[str, Holds], dict[str, Stretch]] = {}
    for entry in spool.entries():
        if entry.facts is not None:
            found.setdefault((entry.pipeline, entry.holds), {}).update(entry.facts.servers)
    return found


def known_servers(
    heads: Heads, spooled: Mapping[tuple[str, Holds], Mapping[str, Stretch]], pipeline: str, holds: Holds
) -> dict[str, Stretch]:
    """Up to where a chain has the answers of each server, also of one that ended: by its newest record and what waits
    on the disk."""
    head = heads.read(pipeline, holds)
    known = dict(head.servers) if head is not None else {}
    return {**known, **spooled.get((pipeline, holds), {})}


def main() -> None:
    """Write until SIGTERM."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("mlratchet").setLevel(logging.INFO)
    settings: LogSettings = load_log_settings()
    undump()
    keys = LogKeys(settings)
    process = LogProcess(settings.home, open_bucket(settings), keys, spool_bytes=settings.log_spool_bytes)

    def stop(_signal: int, _frame: FrameType | None) -> None:
        process.stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    process.run()


if __name__ == "__main__":
    main()
