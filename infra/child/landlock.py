"""Landlock: a process of Linux 5.13 or later gives up, for itself and all it starts, what no rule allows it.

The system calls and structures are those of landlock(7); the C library has no functions for them. Besides files it
takes away, by itself, every look into a process outside (ptrace, /proc/PID/mem and environ, process_vm_readv), even
from root.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same numbers on every architecture
ASK_VERSION, PATH_BENEATH, NET_PORT = 1, 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REFER, TRUNCATE = 1 << 13, 1 << 14
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE  # rights that a rule about a file, not a folder, may name
READ = EXECUTE | READ_FILE | READ_DIR
FIRST = (1 << 13) - 1  # every right of the first version
CONNECT_TCP, BIND_TCP = 1 << 1, 1 << 0
SCOPE_ABSTRACT_SOCKETS, SCOPE_SIGNALS = 1 << 0, 1 << 1
WITH_REFER, WITH_TRUNCATE, WITH_NETWORK, WITH_SCOPES = 2, 3, 4, 6  # versions


def version() -> int:
    """Of this kernel's Landlock; 0 where there is none."""
    try:
        found = int(_call(CREATE_RULESET, None, 0, ASK_VERSION))
    except OSError:
        return 0
    return max(found, 0)


ANY_PORT = 0  # to listen on: the kernel picks one


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Of TCP, on whatever machine they are."""

    connects: Iterable[int] = ()
    binds: Iterable[int] = ()


def restrict(*, reads: Iterable[Path], lists: Iterable[Path], writes: Iterable[Path], ports: Ports | None) -> None:
    """From now on this thread, and what it starts, reads below `reads` and `writes` alone, sees names below `lists`,
    writes below `writes` alone, listens on and connects to `ports` alone (None: all), and signals nobody outside.

    A path that is not there is left out. ``no_new_privs`` must be set. Raises ``OSError`` where there is no Landlock.
    """
    abi = version()
    if abi == 0:
        raise OSError("this kernel has no Landlock")
    everything = FIRST | (REFER if abi >= WITH_REFER else 0) | (TRUNCATE if abi >= WITH_TRUNCATE else 0)
    held = ports if abi >= WITH_NETWORK else None
    scopes = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS if abi >= WITH_SCOPES else 0
    attributes = struct.pack("=Q", everything)
    attributes += struct.pack("=Q", 0 if held is None else CONNECT_TCP | BIND_TCP) if abi >= WITH_NETWORK else b""
    attributes += struct.pack("=Q", scopes) if abi >= WITH_SCOPES else b""
    ruleset = _call(CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in reads:
            _allow(ruleset, path, READ & everything)
        for path in lists:
            _allow(ruleset, path, READ_DIR)
        for path in writes:
            _allow(ruleset, path, everything)
        for rights, numbers in ((CONNECT_TCP, held.connects), (BIND_TCP, held.binds)) if held is not None else ():
            for number in numbers:
                _call(ADD_RULE, ruleset, NET_PORT, struct.pack("=QQ", rights, number), 0)
        _call(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            granted = rights if path.is_dir() else rights & OF_FILES
            _call(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", granted, opened), 0)
        finally:
            os.close(opened)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call. Raises ``OSError``."""
    libc = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    answer: int = libc.syscall(ctypes.c_long(number), *given)
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
