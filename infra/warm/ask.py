"""Start a process of ours as a fork of the warm one, or with a new interpreter where there is no warm one."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Protocol

from mlratchet.infra.warm.protocol import Request, connect, receive, send_request


class Process(Protocol):
    """What is common to ``subprocess.Popen`` and a fork."""

    pid: int  # of its session, too
    returncode: int | None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises ``subprocess.TimeoutExpired``."""


class Forked:
    """A fork of the warm process, as ``subprocess.Popen`` would show it."""

    def __init__(self, connection: socket, pid: int, module: str) -> None:
        self._connection, self.pid, self._module = connection, pid, module
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code. Raises ``subprocess.TimeoutExpired``."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.returncode is None:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._connection], [], [], left)[0]:
                raise subprocess.TimeoutExpired(self._module, timeout or 0.0)
            status = receive(self._connection).get("status", int(signal.SIGKILL))  # it died with the warm process
            self.returncode = os.waitstatus_to_exitcode(status)
            self._connection.close()
        return self.returncode


def start(
    stage: str,
    module: str,
    arguments: Sequence[str],
    *,
    home: Path | None,
    environment: Mapping[str, str],
    output: int,
    when_gone: int,
    source: int | None = None,
) -> Process:
    """``python -P -m module arguments`` in a session of its own: nothing is imported from the folder it starts in.

    Args:
        stage: Of the warm process; whose imports are enough for `module`.
        home: Of the stack; without one, or where its warm process is away, a new interpreter is started.
        environment: All of it.
        output: Descriptor for stdout and stderr.
        when_gone: The signal that a fork gets when this process is gone. A new interpreter has to see to that itself.
        source: Descriptor for stdin; without one nothing comes from there.
    """
    forked = fork(stage, module, arguments, home, environment, output, when_gone, source) if home is not None else None
    if forked is not None:
        return forked
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        env=dict(environment),
        stdin=subprocess.DEVNULL if source is None else source,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def fork(
    stage: str,
    module: str,
    arguments: Sequence[str],
    home: Path,
    environment: Mapping[str, str],
    output: int,
    when_gone: int,
    source: int | None = None,
) -> Forked | None:
    """None where there is no warm process, or it refuses."""
    try:
        connection = connect(home, stage)
    except OSError:
        return None
    told: dict[str, int] = {}
    with suppress(OSError), Path(os.devnull).open("rb") as nothing:
        request = Request(
            module=module,
            arguments=tuple(arguments),
            directory=str(Path.cwd()),
            environment=dict(environment),
            when_gone=when_gone,
        )
        send_request(connection, request, (nothing.fileno() if source is None else source, output, output))
        told = receive(connection)
    if "pid" not in told:
        connection.close()
        return None
    return Forked(connection, told["pid"], module)
