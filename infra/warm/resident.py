"""How much memory a process would hold that had imported by itself what a fork of the warm process found imported.

A fork shares what its parent imported. The kernel counts shared data as the fork's, but a page of a library or another
mapped file only when the fork itself has touched it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

PRESENT = 1 << 63  # of an entry in /proc/PID/pagemap
_state = {"forked": False}


def forked() -> bool:
    """Whether this process is a fork of the warm one."""
    return _state["forked"]


def remember_fork() -> None:
    """From now on, this process is one."""
    _state["forked"] = True


def touch_what_the_parent_holds() -> int:
    """Read a byte of every page of a mapped file that is in the parent's memory, at the same address as in this fork.
    Returns how many there were."""
    import numpy as np

    size, touched = os.sysconf("SC_PAGE_SIZE"), 0
    with Path(f"/proc/{os.getppid()}/pagemap").open("rb", buffering=0) as pagemap:
        for line in Path("/proc/self/maps").read_text().splitlines():
            where, rights, _offset, device, *_ = line.split()
            if device == "00:00" or not rights.startswith("r"):
                continue
            begin, end = (int(part, 16) for part in where.split("-"))
            pagemap.seek(begin // size * 8)
            entries = np.frombuffer(pagemap.read((end - begin) // size * 8), dtype=np.uint64)
            for page in np.flatnonzero(entries & np.uint64(PRESENT)):
                ctypes.string_at(begin + int(page) * size, 1)
                touched += 1
    return touched
