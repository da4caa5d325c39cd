"""Python's cycle collector, out of the way of a process's start and end.

While torch, Prefect and MLflow are imported it walks over the same hundreds of thousands of objects again and again,
and once more when the interpreter ends, though the kernel takes them all: importing the flow and ending took 3.8 s with
it and 2.1 s without.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import io
import os
import stat
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

OPENED = io.IOBase.__mro__[1]  # what it adds to this C type, an abstract class, would be asked about every object
UNWRITTEN = 120  # the interpreter's exit code when its output could not be written


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
    atexit.unregister(gc.freeze)  # `close_files` looks at what is not frozen
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons, as the interpreter does
    atexit._run_exitfuncs()
    close_files()
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
        code = 1
    if not flush_standard_streams():
        code = UNWRITTEN
    ctypes.CDLL(None).fflush(None)  # what libraries printed
    os._exit((code or 0) & 0xFF)


def close_files() -> None:
    """Files on a disk that were opened in this process and left open, as the interpreter closes them when it takes a
    module apart: what is in their buffers is written. Those of the process forked from are frozen, and not ours."""
    written = writable_files()
    if not written:
        return
    files = []
    for one in gc.get_objects():
        with suppress(OSError, ValueError, AttributeError):  # closed, or in memory
            if issubclass(type(one), OPENED) and one.fileno() in written:  # a proxy's `__class__` may run code
                files.append(one)
    for file in sorted(files, key=layer):
        with suppress(OSError, ValueError):  # the interpreter has nobody to tell, either
            file.close()


def layer(file: io.IOBase) -> int:
    """0 for text, 1 for what compresses, 2 for a buffer of bytes, 3 for the file below: who is nearer to the disk is
    closed later."""
    if isinstance(file, io.TextIOBase):
        return 0
    return 2 if isinstance(file, io.BufferedWriter | io.BufferedRandom) else 3 if isinstance(file, io.RawIOBase) else 1


def writable_files() -> set[int]:
    """Descriptors that files on a disk are written by, other than the standard ones."""
    found = set()
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 - numbers, not paths
        with suppress(OSError):  # the folder's own
            number = int(name)
            reads_only = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
            if number > 2 and stat.S_ISREG(os.fstat(number).st_mode) and not reads_only:
                found.add(number)
    return found


def flush_standard_streams() -> bool:
    """False when something could not be written; of stdout that is said."""
    written = True
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except (OSError, ValueError) as error:
            written = False
            if stream is sys.stdout:
                with suppress(OSError, ValueError):
                    print(f"Exception ignored in: {stream!r}\n{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
    return written
