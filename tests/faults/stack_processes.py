"""The processes of a stack by what they are, for tests that kill one of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil
from mlratchet.infra.stack.control import supervisor_pid

from tests.conftest import Stack

FORKSERVER = "multiprocessing.forkserver import main"


def command_of(process: psutil.Process) -> str:
    """Its command line; empty when it is gone."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def runs_module(name: str) -> Callable[[psutil.Process], bool]:
    """Whether a process is `python -m mlratchet.<name>`, or a fork that became it."""
    return lambda process: f"-m mlratchet.{name}" in command_of(process)


def is_forked_by(parent: str) -> Callable[[psutil.Process], bool]:
    """Whether a process is of the forkserver's kind, and its parent's command holds this."""

    def look(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            above = process.parent()
            return FORKSERVER in command_of(process) and above is not None and parent in command_of(above)
        return False

    return look


KINDS: dict[str, Callable[[psutil.Process], bool]] = {
    "flow run": runs_module("flows.runs.engine"),
    "what the worker started": runs_module("infra.warm.hand_over"),
    "warm stage": runs_module("infra.warm.tree"),
    "worker": runs_module("infra.stack.prefect_worker"),
    "guardian": runs_module("infra.stack.guardian"),
    "agent": runs_module("infra.launch.agent"),
    "forkserver": is_forked_by("mlratchet.infra.launch.agent"),
    "rank": is_forked_by(FORKSERVER),
    "child": runs_module("infra.child.main"),
    "measuring child": runs_module("infra.artifact.measure"),
    "model server": runs_module("infra.serving.server"),
    "prefect": runs_module("infra.stack.prefect_server"),
    "mlflow": runs_module("infra.stack.mlflow_server"),
    "seaweedfs": lambda process: "/weed " in command_of(process),
    "supervisor": lambda _process: False,  # its pid is known
}
"""Kind -> whether a process below the supervisor is one."""


def processes_of(stack: Stack, kind: str) -> list[psutil.Process]:
    """Those that live now."""
    pid = supervisor_pid(stack.home)
    if pid is None:
        return []
    with contextlib.suppress(psutil.Error):
        supervisor = psutil.Process(pid)
        if kind == "supervisor":
            return [supervisor]
        return [process for process in supervisor.children(recursive=True) if KINDS[kind](process)]
    return []
