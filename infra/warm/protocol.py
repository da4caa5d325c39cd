"""How a fork of the warm process is asked for: a connection per fork, packets of JSON, descriptors with the first.

Standard library alone: a flow run's process begins with this.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MOST_BYTES = 180_000  # of a request: below Linux's default for a socket's buffer
BACKLOG = 16
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # to a fork, from whoever asked for it


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the fork is to become: ``python -m module arguments``."""

    module: str
    arguments: tuple[str, ...]
    directory: str
    environment: dict[str, str] = field(repr=False)
    when_gone: int  # signal for the fork when whoever asked for it is gone


@contextlib.contextmanager
def address(home: Path, stage: str) -> Iterator[str]:
    """Of a stage's socket. Through a descriptor, because a path in it may have 107 bytes only."""
    folder = os.open(home / "run", os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/warm-{stage}.sock"
    finally:
        os.close(folder)


def listen(home: Path, stage: str) -> socket.socket:
    """For this user alone. Who connects before the imports are done waits for them."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with address(home, stage) as path:
        Path(path).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    listener.listen(BACKLOG)
    return listener


def connect(home: Path, stage: str) -> socket.socket:
    """Raises ``OSError`` when nobody listens."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with address(home, stage) as path:
            made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def send_request(to: socket.socket, request: Request, descriptors: Sequence[int]) -> None:
    """`descriptors`: stdin, stdout and stderr of the fork. Raises ``OSError`` for a request that is too large."""
    body = json.dumps(asdict(request)).encode()
    if len(body) > MOST_BYTES:
        raise OSError(f"a request of {len(body)} bytes; at most {MOST_BYTES} go into a packet")
    to.sendmsg([body], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


def receive_request(source: socket.socket) -> tuple[Request, list[int]]:
    """Raises ``OSError``, ``ValueError`` or ``TypeError`` for what is not one, and ``EOFError`` for nothing."""
    body, rights, _flags, _from = source.recvmsg(MOST_BYTES, socket.CMSG_SPACE(3 * 4))
    descriptors: list[int] = []
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found = array.array("i")
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
            descriptors += found
    try:
        if not body:
            raise EOFError
        if len(descriptors) != 3:
            raise ValueError(f"three descriptors come with a request, got {len(descriptors)}")
        told = json.loads(body)
        return Request(**told | {"arguments": tuple(told["arguments"])}), descriptors
    except BaseException:
        for descriptor in descriptors:
            os.close(descriptor)
        raise


def send(to: socket.socket, **what: int | str) -> None:
    """A word about the fork; to nobody when the other side is gone."""
    with contextlib.suppress(OSError):
        to.send(json.dumps(what).encode())


def receive(source: socket.socket) -> dict[str, Any]:
    """The next word about the fork. Empty when the other side is gone."""
    try:
        body = source.recv(MOST_BYTES)
    except ConnectionResetError:
        return {}
    return dict(json.loads(body)) if body else {}


def may_ask(connection: socket.socket) -> bool:
    """Whether the other side runs as this user does, and is no child that runs a user's code: such a one may gain no
    privileges (prctl(2)), and a fork of this process would be a gain."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, user, _group = struct.unpack("3i", raw)
    return int(user) == os.getuid() and not bound(int(pid))


def bound(pid: int) -> bool:
    """Whether the process has given up new privileges; also of one that is gone, whose word nobody can ask for."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True
    return "NoNewPrivs:\t1" in status
