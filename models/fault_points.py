"""Named places where a test can make the process fail. Off unless armed.

``RATCHET_FAULT=register.after_create:crash`` (read by `infra/settings.py` and armed at process start) arms one.
"""

from __future__ import annotations

import os
import signal
from typing import Literal

Fault = Literal["crash", "stop", "raise"]

_armed: dict[str, Fault] = {}


class InjectedFault(Exception):  # noqa: N818 - it is a fault, not an error of ours
    """Raised by an armed fault point."""


def arm(name: str, fault: Fault) -> None:
    """Make the next passage of `name` fail; it is disarmed by failing."""
    _armed[name] = fault


def disarm() -> None:
    """Forget every armed point."""
    _armed.clear()


def fault_point(name: str) -> None:
    """Fail here if a test armed this name."""
    fault = _armed.pop(name, None)
    if fault == "crash":
        os._exit(137)
    if fault == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if fault == "raise":
        raise InjectedFault(name)
