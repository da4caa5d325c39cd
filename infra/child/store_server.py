"""The socket of an attempt: ranks ask for objects there, and the process that has the credentials answers."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Self

from mlratchet.infra.child.frames import FrameError, receive_frame, send_frame
from mlratchet.infra.child.lent_store import BorrowedStore, Lender

HANDS = 8  # requests of one connection that are answered side by side
BACKLOG = 128


class StoreServer:
    """Answers at `path`, in a folder that the user alone enters, until it is left. A thread per connection."""

    def __init__(self, path: Path, lender: Lender) -> None:
        self._path, self._lender = path, lender
        self._listener = socket.socket(socket.AF_UNIX)
        self._connections: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._listener.bind(str(self._path))
        self._listener.listen(BACKLOG)
        threading.Thread(target=self._accept, daemon=True, name="attempt-store").start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._connections):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):  # it was closed
            while True:
                connection, _ = self._listener.accept()
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


def borrow(path: str, bucket: str) -> BorrowedStore:
    """By a rank. Raises ``OSError`` when nobody answers there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return BorrowedStore(connection, bucket)
