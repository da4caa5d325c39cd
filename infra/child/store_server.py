"""The channel of an attempt: ranks inherit it and ask for objects through it, and the process that has the credentials
answers. It has no address, so no other process of the user's has a way to it, and ranks need to connect to nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, Self

from mlratchet.infra.child.frames import FrameError, receive_frame, send_frame
from mlratchet.infra.child.lent_store import BorrowedStore, Lender

HANDS = 8  # requests of one connection that are answered side by side
PACKETS = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM  # macOS has no other
WORD = b"store"  # with the end of a connection that a rank made


class StoreServer:
    """Answers until it is left. `channel`: for the ranks. A thread per connection."""

    def __init__(self, lender: Lender) -> None:
        self._lender = lender
        self._asked, self.channel = socket.socketpair(socket.AF_UNIX, PACKETS)
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True, name="attempt-store").start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._asked, self.channel, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while descriptors := socket.recv_fds(self._asked, len(WORD), 1)[1]:
                connection = socket.socket(fileno=descriptors[0])
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True, name="attempt-store").start()

    def _serve(self, connection: socket.socket) -> None:
        sending = threading.Lock()

        def answer(head: dict[str, object], body: bytes) -> None:
            told = self._lender.answer(head, body)
            with sending, suppress(OSError):
                send_frame(connection, *told)

        # whoever asks on a connection that nobody reads any more would wait for ever
        with closing(connection), ThreadPoolExecutor(HANDS) as hands, suppress(EOFError, FrameError, OSError):
            while True:
                hands.submit(answer, *receive_frame(connection))


def borrow(channel: int, bucket: str) -> BorrowedStore:
    """By a rank. `channel`: the descriptor. Raises ``OSError`` when nobody is there."""
    store = _connected(channel, bucket)
    sizes = store.copies_bytes()
    if sizes is not None:
        store.files = BorrowedFiles(channel, bucket, *sizes, store)
    return store


def _connected(channel: int, bucket: str) -> BorrowedStore:
    ours, theirs = socket.socketpair()
    with theirs, socket.socket(fileno=os.dup(channel)) as asked:
        socket.send_fds(asked, [WORD], [theirs.fileno()])
    return BorrowedStore(ours, bucket)


class BorrowedFiles:
    """Copies that the process with the credentials keeps: it downloads, and who asks reads. A loader worker that a rank
    starts is given the channel, and makes a connection of its own."""

    def __init__(
        self, channel: int, bucket: str, bound_bytes: int, smallest_bytes: int, store: BorrowedStore | None = None
    ) -> None:
        self._channel, self._bucket, self._store = channel, bucket, store
        self.bound_bytes, self.smallest_bytes = bound_bytes, smallest_bytes
        self._lock = threading.Lock()

    def __reduce__(self) -> Any:
        return _files_of_worker, (DupFd(self._channel), self._bucket, self.bound_bytes, self.smallest_bytes)

    def _asked(self) -> BorrowedStore:
        with self._lock:
            if self._store is None:
                self._store = _connected(self._channel, self._bucket)
            return self._store

    def file(self, key: str, sha256: str) -> Path:
        """See the port."""
        return self._asked().copy_of(key, sha256)

    def ahead(self, objects: Sequence[tuple[str, str]]) -> None:
        """See the port."""
        self._asked().copy_soon(objects)


def _files_of_worker(channel: Any, bucket: str, bound_bytes: int, smallest_bytes: int) -> BorrowedFiles:
    return BorrowedFiles(channel.detach(), bucket, bound_bytes, smallest_bytes)
