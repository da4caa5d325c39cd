"""The Unix socket between servers and the log writer, in the home folder, where no other account can reach it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NAME = "log.sock"
BUFFER_BYTES = 4_000_000  # asked of the kernel, which may give less
BACKLOG = 64
MOST_PARTS = 1000  # of one call; the kernel takes 1024


@contextmanager
def _short_path(home: Path) -> Iterator[str]:
    """Through a descriptor, because a path of a socket may have 107 bytes only."""
    folder = os.open(home / "run", os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{NAME}"
    finally:
        os.close(folder)


def listen(home: Path) -> socket.socket:
    """Where servers connect to. Takes the place of a writer that is gone."""
    (home / "run").mkdir(parents=True, exist_ok=True)
    (home / "run" / NAME).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _short_path(home) as path:
        listener.bind(path)
    (home / "run" / NAME).chmod(0o600)
    listener.listen(BACKLOG)
    return listener


def connect(home: Path, *, timeout_s: float) -> socket.socket:
    """To the writer of this home. Raises ``OSError`` where there is none."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        made.settimeout(timeout_s)
        with _short_path(home) as path:
            made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def send_whole(to: socket.socket, parts: Sequence[bytes | memoryview]) -> None:
    """All of it, in one call where the kernel takes it: after each call this thread waits for the interpreter, as long
    as five milliseconds while requests are answered. Raises ``OSError``."""
    for at in range(0, len(parts), MOST_PARTS):
        some = parts[at : at + MOST_PARTS]
        sent = to.sendmsg(some)
        if sent < sum(map(len, some)):
            to.sendall(memoryview(b"".join(some))[sent:])
