"""A filter of system calls: what a process and all it starts may never ask the kernel for again, see seccomp(2).

It keeps everything that a child starts in the child's own process group, so that one signal ends all of it: the kernel
lets nobody out of a group by forking. And a child without a network opens no connection, also not to the socket of a
service that would do its work for it; Landlock knows TCP alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable

PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of classic BPF
NUMBER, ARCHITECTURE = 0, 4  # offsets in `struct seccomp_data`
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
OTHER_NUMBERS = 0x40000000  # from here on x86-64 counts the system calls of x32

CALLS = {
    "x86_64": (0xC000003E, {"setsid": 112, "setpgid": 109, "connect": 42, "io_uring_setup": 425}),
    "aarch64": (0xC00000B7, {"setsid": 157, "setpgid": 154, "connect": 203, "io_uring_setup": 425}),
}
"""By machine: its number for the kernel, and those of the calls."""


def available() -> bool:
    """Whether the filter is known for this machine."""
    return sys.platform == "linux" and platform.machine() in CALLS and hasattr(ctypes.CDLL(None), "prctl")


def refuse(names: Iterable[str]) -> None:
    """From now on these calls of this thread, and of what it starts, fail with ``PermissionError``.

    ``no_new_privs`` must be set. Raises ``OSError`` where there is no such filter.
    """
    if not available():
        raise OSError(f"no filter of system calls is known for {platform.machine()}")
    code = program(platform.machine(), names)
    kept = ctypes.create_string_buffer(code)
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.c_char_p(described), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def program(machine: str, names: Iterable[str]) -> bytes:
    """The filter: another architecture's calls and those named are refused, all others allowed."""
    architecture, known = CALLS[machine]
    numbers = [known[name] for name in names]
    last = len(numbers) + 5  # where ALLOW stands; REFUSE comes after it
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (JUMP_EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, REFUSE),
        (LOAD, 0, 0, NUMBER),
        (JUMP_AT_LEAST, last + 1 - 5, 0, OTHER_NUMBERS),
        *((JUMP_EQUAL, last + 1 - (5 + at) - 1, 0, number) for at, number in enumerate(numbers)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
