"""Python's cycle collector, out of the way of a process's start and end.

While torch, Prefect and MLflow are imported it walks over the same hundreds of thousands of objects again and again,
and once more when the interpreter ends, though the kernel takes them all: importing the flow and ending took 3.8 s with
it and 2.1 s without.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

SELDOM = (
    100_000,
    50,
    100,
)  # objects more than at the last collection; and how many of a generation make one of the next


def collect_seldom() -> None:
    """For a process that imports much and keeps it: call before the imports."""
    gc.set_threshold(*SELDOM)
    atexit.register(gc.freeze)  # what lives then is not looked at again


def run_to_the_end(program: Callable[[], object]) -> NoReturn:
    """Run it, and end as the interpreter does, but do not take the interpreter apart: a fork would write to all that it
    shares with the process that it is a fork of, and so copy it. Of a fork of a run's stage that is 340 MB, and half a
    second of work. What `program` raises is raised, but for a ``SystemExit``."""
    code: object = None
    try:
        program()
    except SystemExit as left:
        code = left.code
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as the interpreter does
    atexit._run_exitfuncs()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        code = 1
    with suppress(OSError, ValueError):  # nobody reads it any more
        sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # what libraries printed
    os._exit((code or 0) & 0xFF)
