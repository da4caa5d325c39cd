"""A filter of system calls: what a process and all it starts may never ask the kernel for again, see seccomp(2).

It keeps everything that a child starts in the child's own process group, so that one signal ends all of it: the kernel
lets nobody out of a group by forking. And a child has no socket but those that it was given: Landlock knows TCP alone,
and a service behind a Unix socket or a datagram would do its work for it.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from typing import Literal, NamedTuple

PR_SET_SECCOMP, MODE_FILTER = 22, 2
LOAD, AND, JUMP_EQUAL, JUMP_AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # of classic BPF
NUMBER, ARCHITECTURE = 0, 4  # offsets in `struct seccomp_data`
FAMILY, KIND, PROTOCOL = 16, 24, 32  # the same, of the arguments of socket(2): low words, little-endian
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO with EPERM
OTHER_NUMBERS = 0x40000000  # from here on x86-64 counts the system calls of x32
IPV4, IPV6, NETLINK = 2, 10, 16  # families; the last tells the names of interfaces
STREAM, DATAGRAM, RAW, OF_KIND = 1, 2, 3, 0xF  # kinds, and the bits of them
TCP = 6

Sockets = Literal["any", "tcp", "none"]
"""Which sockets may be made: `tcp` none but those of TCP (with neither MPTCP nor SCTP, which Landlock does not hold).
Where it is not `any`, a pair of datagram sockets is refused, too: one end of it could send to any path."""

CALLS = {
    "x86_64": (
        0xC000003E,
        {"setsid": 112, "setpgid": 109, "connect": 42, "socket": 41, "socketpair": 53, "io_uring_setup": 425},
    ),
    "aarch64": (
        0xC00000B7,
        {"setsid": 157, "setpgid": 154, "connect": 203, "socket": 198, "socketpair": 199, "io_uring_setup": 425},
    ),
}
"""By machine: its number for the kernel, and those of the calls."""


class Instruction(NamedTuple):
    """Of the filter. `yes` and `no` are labels to go on at, the next step where there is none."""

    code: int
    value: int
    yes: str = ""
    no: str = ""
    label: str = ""


def available() -> bool:
    """Whether the filter is known for this machine."""
    return sys.platform == "linux" and platform.machine() in CALLS and hasattr(ctypes.CDLL(None), "prctl")


def refuse(names: Iterable[str], *, sockets: Sockets = "any") -> None:
    """From now on these calls of this thread, and of what it starts, fail with ``PermissionError``, and so does making
    other sockets than `sockets`.

    ``no_new_privs`` must be set. Raises ``OSError`` where there is no such filter.
    """
    if not available():
        raise OSError(f"no filter of system calls is known for {platform.machine()}")
    code = program(platform.machine(), names, sockets)
    kept = ctypes.create_string_buffer(code)
    described = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.c_char_p(described), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def program(machine: str, names: Iterable[str], sockets: Sockets = "any") -> bytes:
    """The filter: another architecture's calls and those named are refused, all others allowed."""
    architecture, known = CALLS[machine]
    refused = [*names, *(["socket"] if sockets == "none" else [])]
    steps = [
        Instruction(LOAD, ARCHITECTURE),
        Instruction(JUMP_EQUAL, architecture, no="refuse"),
        Instruction(LOAD, NUMBER),
        Instruction(JUMP_AT_LEAST, OTHER_NUMBERS, yes="refuse"),
        *(Instruction(JUMP_EQUAL, known[name], yes="refuse") for name in refused),
        *([Instruction(JUMP_EQUAL, known["socketpair"], yes="pair")] if sockets != "any" else []),
        *([Instruction(JUMP_EQUAL, known["socket"], yes="socket")] if sockets == "tcp" else []),
        Instruction(RETURN, ALLOW, label="allow"),
        Instruction(RETURN, REFUSE, label="refuse"),
        Instruction(LOAD, KIND, label="pair"),
        Instruction(AND, OF_KIND),
        Instruction(JUMP_EQUAL, DATAGRAM, yes="no"),
        Instruction(JUMP_EQUAL, RAW, yes="no", no="yes"),
        Instruction(LOAD, FAMILY, label="socket"),
        Instruction(JUMP_EQUAL, NETLINK, yes="usual"),
        Instruction(JUMP_EQUAL, IPV4, yes="internet"),
        Instruction(JUMP_EQUAL, IPV6, no="no"),
        Instruction(LOAD, KIND, label="internet"),
        Instruction(AND, OF_KIND),
        Instruction(JUMP_EQUAL, STREAM, no="no"),
        Instruction(LOAD, PROTOCOL),
        Instruction(JUMP_EQUAL, TCP, yes="yes"),
        Instruction(LOAD, PROTOCOL, label="usual"),
        Instruction(JUMP_EQUAL, 0, no="no"),
        Instruction(RETURN, ALLOW, label="yes"),
        Instruction(RETURN, REFUSE, label="no"),
    ]
    at = {step.label: place for place, step in enumerate(steps) if step.label}

    def jump(place: int, label: str) -> int:
        return at[label] - place - 1 if label else 0

    return b"".join(
        struct.pack("HBBI", step.code, jump(place, step.yes), jump(place, step.no), step.value)
        for place, step in enumerate(steps)
    )
