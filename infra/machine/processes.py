"""Finding and ending processes by a mark in their environment, which every descendant inherits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time

import psutil

STACK_MARK = "RATCHET_STACK"  # on every process of an embedded stack: its home
WORK_MARK = "RATCHET_WORK"  # on every process of an attempt: its work key
HOME_MARK = "RATCHET_HOME"  # on the same: the installation that trains; another may train the same work beside it
GRACE_S = 8.0  # seconds between SIGTERM and SIGKILL


def end_group(process: subprocess.Popen[bytes], grace_s: float = GRACE_S) -> None:
    """SIGTERM to the process's group, SIGKILL to what is left after `grace_s`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def marked_processes(mark: str, value: str, **also: str) -> list[psutil.Process]:
    """Every other process whose environment holds `mark` with `value`, and all of `also`."""
    marks = {mark: value, **also}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and marks.items() <= process.environ().items():
                found.append(process)
    return found


def sweep(mark: str, value: str, **also: str) -> int:
    """End every marked process; returns how many there were."""
    found = marked_processes(mark, value, **also)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=GRACE_S if found else 0)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)


def wait_until_gone(pid: int, timeout_s: float) -> bool:
    """Whether the process ended in time."""
    deadline = time.monotonic() + timeout_s
    while psutil.pid_exists(pid):
        with contextlib.suppress(psutil.Error):
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
