"""Command line and environment of a fork, where `ps` and whoever sweeps by a mark look for them.

The kernel shows the memory in which a program found them at its start. A fork has that memory; `stack/services.py`
starts the warm process with an argument and a variable that only make room in it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

ARGUMENTS, ENVIRONMENT = (48, 49), (50, 51)  # fields of /proc/PID/stat, see proc(5): begin and end of the memory


def show_command(command: Sequence[str]) -> None:
    """What does not fit is cut. A last byte that is no NUL tells the kernel that the text ends at its first NUL."""
    begin, size = memory(ARGUMENTS)
    write(begin, os.fsencode(" ".join(command))[: size - 2].ljust(size - 1, b"\0") + b".")


def show_environment(environment: Mapping[str, str]) -> None:
    """What does not fit is cut. The C library must hold no pointer into that memory: set this environment before."""
    begin, size = memory(ENVIRONMENT)
    body = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in environment.items())
    write(begin, body[: size - 1].ljust(size, b"\0"))


def memory(fields: tuple[int, int]) -> tuple[int, int]:
    """Address and size in bytes."""
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = (int(stat[field - 3]) for field in fields)
    return begin, end - begin


def write(begin: int, body: bytes) -> None:
    """Into this process's memory."""
    ctypes.memmove(begin, body, len(body))
