"""The working directory of a run on this machine, and whether the process that owns one lives."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from pathlib import Path

import psutil
from mlratchet.infra.machine.atomic import write_atomically
from mlratchet.models.identity.lease import Lease

OWNER = "owner.json"
UNSIGNED_S = 60.0  # seconds in which a folder without an owner may be one that a process is just making


def open_scratch(home: Path, run_id: str) -> Path:
    """`HOME/scratch/<run id>`, signed with this process."""
    folder = home / "scratch" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    me = psutil.Process()
    write_atomically(folder / OWNER, json.dumps({"pid": me.pid, "started_s": me.create_time()}))
    return folder


def orphaned_runs(home: Path) -> list[str]:
    """Run ids whose process is gone, whatever ended it."""
    return [folder.name for folder in sorted((home / "scratch").glob("*")) if not _ownerlives(folder)]


def remove_scratch(home: Path, run_id: str) -> None:
    """Idempotent."""
    shutil.rmtree(home / "scratch" / run_id, ignore_errors=True)


def this_machine() -> str:
    """`host/boot/pid namespace`: where a pid of this process means something."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = str(os.stat("/proc/self/ns/pid").st_ino)  # noqa: PTH116 - Path.stat would resolve the link
    except OSError:
        boot, namespace = str(psutil.boot_time()), "none"
    return f"{socket.gethostname()}/{boot}/{namespace}"


def lease_of(run_id: str, pipeline: str, owner: str) -> Lease:
    """This process as the holder."""
    me = psutil.Process()
    return Lease(
        run=run_id, pipeline=pipeline, owner=owner, machine=this_machine(), pid=me.pid, born_s=me.create_time()
    )


def is_gone(lease: Lease) -> bool:
    """Whether the holder's process has ended; of another machine's that is not known: False."""
    return lease.machine == this_machine() and not lives(lease.pid, lease.born_s)


def lives(pid: int, born_s: float) -> bool:
    """Whether the process with this pid is the one that began then, in seconds since the epoch."""
    try:
        process = psutil.Process(pid)
        # a pid is used again after a while: the time of birth tells
        return abs(process.create_time() - born_s) < 1.0 and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def _ownerlives(folder: Path) -> bool:
    try:
        owner = json.loads((folder / OWNER).read_text())
        return lives(int(owner["pid"]), float(owner["started_s"]))
    except (OSError, ValueError, KeyError):
        try:
            return time.time() - folder.stat().st_mtime < UNSIGNED_S
        except OSError:
            return False
