"""The forkserver of the ranks: a new interpreter that imports first, or a fork of what has imported already."""

from __future__ import annotations

import os
import socket
import sys
from multiprocessing import connection, forkserver, resource_tracker, set_forkserver_preload
from pathlib import Path
from typing import Any, NoReturn

from mlratchet.infra.warm.show import show_command

BOUND, RANK = "mlratchet.infra.launch.bound", "mlratchet.infra.launch.rank"
PRELOAD = [BOUND, "torch", "torch.distributed", "torch._dynamo", RANK]


def start_forkserver() -> None:
    """Call it first: a new interpreter imports beside this process, and a fork has to come before any thread."""
    set_forkserver_preload(PRELOAD)
    server = forkserver._forkserver
    if RANK in sys.modules and sys.version_info < (3, 14):  # from then on it wants a key, too
        fork_forkserver(server)
    else:
        forkserver.ensure_running()


def fork_forkserver(server: Any) -> None:
    """``ForkServer.ensure_running`` of CPython 3.11 to 3.13, which starts an interpreter where this forks."""
    resource_tracker.ensure_running()
    with socket.socket(socket.AF_UNIX) as listener:
        address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
        listener.bind(address)
        Path(address).chmod(0o600)
        listener.listen()
        alive_r, alive_w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(alive_w)
            serve(listener.detach(), alive_r)
        os.close(alive_r)
    server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, alive_w, pid


def serve(listener: int, alive: int) -> NoReturn:
    """In the fork: until the agent is gone. A rank leaves by its own exit, inside."""
    show_command([sys.executable, "-c", "from multiprocessing.forkserver import main"])
    code = 1
    try:
        forkserver.main(listener, alive, [BOUND])
    except SystemExit:
        code = 0
    finally:
        os._exit(code)
