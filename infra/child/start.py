"""Where children come from: the stack's warm process, or else a nursery of this process's own. Both were started as
programs of their own, so nothing of this process's memory is in what they fork."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from socket import socket

from mlratchet.infra.machine.temporary import temporary_folder
from mlratchet.infra.settings import process_environment, told_to_children
from mlratchet.infra.warm.ask import Forked, Process, fork
from mlratchet.infra.warm.ask import start as start_anew
from mlratchet.infra.warm.protocol import listen

CHILD, NURSERY, STAGE = "mlratchet.infra.child.main", "mlratchet.infra.child.nursery", "calls"
RANKS = "ranks"  # the stage of the warm process that ranks are forks of
END_S = 5.0  # seconds that the kernel may take to end what was killed


_nursery: list[Nursery] = []  # at most one of this process
_lock = threading.Lock()


class Starter:
    """Thread-safe."""

    def __init__(self, home: Path | None) -> None:
        self._home = home

    def start(self, connection: socket, environment: Mapping[str, str], output: int) -> Process:
        """A child whose standard input is `connection`, in a session of its own."""
        told = told_to_children(process_environment()) | dict(environment)
        places = [(self._home, STAGE)] if self._home is not None else []
        for home, stage in places:
            found = fork(stage, CHILD, (), home, told, output, signal.SIGKILL, connection.fileno())
            if found is not None:
                return found
        with _lock:
            if _living() is None:
                _nursery[:] = [Nursery()]
            nursery = _nursery[-1]
        found = fork(STAGE, CHILD, (), nursery.home, told, output, signal.SIGKILL, connection.fileno())
        if found is not None:
            return found
        # a file of the user's is named like what the nursery imported; the child finds it when it is bound
        return start_alone(connection, environment, output)


def start_agent_of_ranks(
    module: str,
    arguments: Sequence[str],
    *,
    home: Path,
    environment: Mapping[str, str],
    output: int,
    when_gone: int,
    source: int,
) -> Process:
    """As `infra.warm.ask.start`, of the stage that ranks are forks of; without a stack, of the nursery where there is
    one already: it has imported what they need, which is then in memory once and not twice."""
    found: Forked | None = None
    with _lock:
        nursery = _living()
    for place, stage in ((home, RANKS), *([(nursery.home, STAGE)] if nursery is not None else [])):
        found = found or fork(stage, module, arguments, place, environment, output, when_gone, source)
    return found or start_anew(
        RANKS, module, arguments, home=None, environment=environment, output=output, when_gone=when_gone, source=source
    )


def _living() -> Nursery | None:
    return _nursery[-1] if _nursery and _nursery[-1].lives() else None


def start_alone(connection: socket, environment: Mapping[str, str], output: int) -> Process:
    """The same in an interpreter of its own, which takes seconds: for one that lasts, and would keep alive what it is a
    fork of."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", CHILD],
        env=told_to_children(process_environment()) | dict(environment),
        stdin=connection.fileno(),
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


class Nursery:
    """A process that imports what children need, once, and is forked for each. It ends with this one."""

    def __init__(self) -> None:
        self._folder = temporary_folder("nursery")
        self.home = Path(self._folder.name)
        (self.home / "run").mkdir()
        with listen(self.home, STAGE) as listener:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", NURSERY, str(os.getpid()), "-" * 2048],
                env=told_to_children(process_environment()) | {"RATCHET_ROOM": "-" * 32_768},
                stdin=listener.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=self.home,
                start_new_session=True,
            )
        atexit.register(self.end)

    def lives(self) -> bool:
        """Whether it takes requests still."""
        return self._process.poll() is None

    def end(self) -> None:
        """With every fork of it."""
        with suppress(OSError):
            self._process.kill()
            self._process.wait(END_S)
        self._folder.cleanup()


def end(process: Process) -> None:
    """It and all that it started; what it had written is all there is afterwards. It must not have been waited for."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
