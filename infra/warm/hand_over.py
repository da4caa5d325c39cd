"""Go on as a fork of the warm process, and end as it ends. Signals are passed on; who is killed takes its fork along.

A flow run's process, as Prefect's worker starts it, is ``python -m mlratchet.infra.warm.hand_over HOME``: without a
warm process it becomes the run itself.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from mlratchet.infra.warm.protocol import PASSED_ON, Request, connect, receive, send_request

ENGINE = "mlratchet.flows.runs.engine"
RUN_ID = "PREFECT__FLOW_RUN_ID"  # in the environment of a run's process


class ForkLostError(Exception):
    """The warm process is gone, and the fork with it."""


def own_environment() -> dict[str, str]:
    """As this program was started with it: the settings' module would take longer to import than all else here."""
    pairs = (os.fsdecode(part).partition("=") for part in Path("/proc/self/environ").read_bytes().split(b"\0") if part)
    return {name: value for name, _, value in pairs}


def hand_over(home: Path, module: str, arguments: Sequence[str]) -> None:
    """``python -m module arguments`` in a fork, with what this process has of environment, folder, input and output.
    Returns only where there is no warm process that takes it.

    Raises ``ForkLostError`` when that dies meanwhile.
    """
    early: list[int] = []  # signals that come before there is a fork
    handlers = {signum: signal.signal(signum, lambda number, _frame: early.append(number)) for signum in PASSED_ON}
    try:
        with connect(home, "runs") as connection:
            request = Request(
                module=module,
                arguments=tuple(arguments),
                directory=str(Path.cwd()),
                environment=own_environment(),
                when_gone=signal.SIGKILL,
            )
            send_request(connection, request, (0, 1, 2))
            if "pid" in receive(connection):
                follow(connection, early)
    except OSError:
        pass
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    for number in early:
        os.kill(os.getpid(), number)


def follow(connection: socket.socket, early: list[int]) -> None:
    """Pass signals on until the fork has ended, then end in the same way."""

    def pass_on(signum: int, _frame: FrameType | None) -> None:
        connection.send(bytes([signum]))

    for signum in PASSED_ON:
        signal.signal(signum, pass_on)
    for number in early:
        pass_on(number, None)
    status = receive(connection).get("status")
    if status is None:
        raise ForkLostError
    if os.WIFSIGNALED(status):
        ended_by = os.WTERMSIG(status)
        if ended_by != signal.SIGKILL:
            signal.signal(ended_by, signal.SIG_DFL)
        os.kill(os.getpid(), ended_by)
    sys.exit(os.waitstatus_to_exitcode(status))


def main(home: Path) -> None:
    """The process of a flow run."""
    try:
        hand_over(home, ENGINE, ())
    except ForkLostError:
        os.kill(os.getpid(), signal.SIGKILL)  # as the run was: the worker says that it crashed
    run = own_environment().get(RUN_ID)  # the run hides its environment from now on, and is looked for still
    os.execv(sys.executable, [sys.executable, "-P", "-m", ENGINE, *([run] if run else [])])  # noqa: S606 - constant


if __name__ == "__main__":
    main(Path(sys.argv[1]))
