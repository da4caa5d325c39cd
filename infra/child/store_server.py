"""The channel of an attempt: ranks inherit it and ask for objects through it, and the process that has the credentials
answers. It has no address, so no other process of the user's has a way to it, and ranks need to connect to nothing."""

from __future__ import annotations

import os
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Self

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

        with ThreadPoolExecutor(HANDS) as hands, suppress(EOFError, FrameError, OSError):
            while True:
                hands.submit(answer, *receive_frame(connection))


def borrow(channel: int, bucket: str) -> BorrowedStore:
    """By a rank. `channel`: the descriptor. Raises ``OSError`` when nobody is there."""
    ours, theirs = socket.socketpair()
    with theirs, socket.socket(fileno=os.dup(channel)) as asked:
        socket.send_fds(asked, [WORD], [theirs.fileno()])
    return BorrowedStore(ours, bucket)
