"""The forkserver of the ranks: a fork of what has imported what they need.

Where CPython's own has a listening socket, this one has a pair that nobody else can find: agent and ranks make no Unix
socket, so that they reach none of the user's either.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Sequence
from functools import partial
from multiprocessing import forkserver, reduction, resource_tracker, set_forkserver_preload
from types import SimpleNamespace
from typing import Any, NoReturn, Self

from mlratchet.infra.warm.show import show_command

BOUND, RANK = "mlratchet.infra.launch.bound", "mlratchet.infra.launch.rank"
PRELOAD = ["torch", "torch.distributed", "torch._dynamo", RANK]
FORKS = sys.platform == "linux" and sys.version_info < (3, 14)  # later ones want a key, too
WORD = b"rank"  # with the end of a connection that the agent made


def start_forkserver() -> None:
    """Call it first: a fork has to come before any thread."""
    set_forkserver_preload([BOUND, *PRELOAD])
    if not FORKS:
        forkserver.ensure_running()
        return
    for module in PRELOAD:  # of the warm process: it has them
        importlib.import_module(module)
    fork_forkserver(forkserver._forkserver)


def fork_forkserver(server: Any) -> None:
    """``ForkServer.ensure_running`` of CPython 3.11 to 3.13, which starts an interpreter where this forks."""
    resource_tracker.ensure_running()
    asks, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    alive_r, alive_w = os.pipe()
    pid = os.fork()
    if pid == 0:
        asks.close()
        os.close(alive_w)
        serve(asked.detach(), alive_r)
    asked.close()
    os.close(alive_r)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = "a pair", alive_w, pid
    forkserver.connect_to_new_process = partial(connect_to_new_process, asks, alive_w)


def connect_to_new_process(asks: socket.socket, alive: int, descriptors: Sequence[int]) -> tuple[int, int]:
    """``ForkServer.connect_to_new_process``: pipes from and to a new rank, which gets `descriptors`."""
    ours, theirs = socket.socketpair()
    from_rank, ranks_out = os.pipe()
    ranks_in, to_rank = os.pipe()
    try:
        with ours, theirs:
            socket.send_fds(asks, [WORD], [theirs.fileno()])
            tracker = resource_tracker.getfd()
            assert tracker is not None, "it was started before the fork"
            reduction.sendfds(ours, [ranks_in, ranks_out, alive, tracker, *descriptors])
    except BaseException:
        os.close(from_rank)
        os.close(to_rank)
        raise
    finally:
        os.close(ranks_in)
        os.close(ranks_out)
    return from_rank, to_rank


class Doorway:
    """What ``forkserver.main`` takes for a listening socket."""

    def __init__(self, _family: int, fileno: int) -> None:
        self._asked = socket.socket(fileno=fileno)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """By a rank, and at the end."""
        self._asked.close()

    def fileno(self) -> int:
        """To wait for somebody."""
        return self._asked.fileno()

    def getsockname(self) -> str:
        """It has none."""
        return "a pair"

    def accept(self) -> tuple[socket.socket, str]:
        """Who is there. Raises ``EOFError`` when nobody will be any more."""
        descriptors = socket.recv_fds(self._asked, len(WORD), 1)[1]
        if not descriptors:
            raise EOFError
        return socket.socket(fileno=descriptors[0]), ""


def serve(asked: int, alive: int) -> NoReturn:
    """In the fork: until the agent is gone. A rank leaves by its own exit, inside."""
    show_command([sys.executable, "-c", "from multiprocessing.forkserver import main"])
    code = 1
    try:
        forkserver.socket = SimpleNamespace(AF_UNIX=socket.AF_UNIX, socket=Doorway)  # type: ignore[attr-defined]
        forkserver.main(asked, alive, [BOUND])
    except (EOFError, SystemExit):
        code = 0
    finally:
        os._exit(code)
