"""The working directory of a run on this machine, temporary folders, and whether the process that owns one lives."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
from mlratchet.models.identity.canonical import digest
from mlratchet.models.identity.lease import Lease

OWNER = "owner.json"
TEMPORARY = re.compile(r"^ratchet-[a-z]+-(?P<pid>\d+)-(?P<born_ms>\d+)-(?P<where>[0-9a-f]{8})-")


def open_scratch(home: Path, run_id: str) -> Path:
    """`HOME/scratch/<run id>`, signed with this process."""
    folder = home / "scratch" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    me = psutil.Process()
    (folder / OWNER).write_text(json.dumps({"pid": me.pid, "started_s": me.create_time()}))
    return folder


def orphaned_runs(home: Path) -> list[str]:
    """Run ids whose process is gone, whatever ended it."""
    return [folder.name for folder in sorted((home / "scratch").glob("*")) if not _owner_lives(folder)]


def remove_scratch(home: Path, run_id: str) -> None:
    """Idempotent."""
    shutil.rmtree(home / "scratch" / run_id, ignore_errors=True)


def temporary_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Of this process, in its name: who is killed removes nothing, and `remove_abandoned_folders` knows whose it was.

    `purpose`: lower-case letters.
    """
    me = psutil.Process()
    prefix = f"ratchet-{purpose}-{me.pid}-{round(me.create_time() * 1000)}-{_process_numbers()}-"
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def remove_abandoned_folders() -> None:
    """Temporary folders of this user's whose process has ended."""
    for folder in Path(tempfile.gettempdir()).glob("ratchet-*"):
        owner = TEMPORARY.match(folder.name)
        if owner is None or owner["where"] != _process_numbers() or folder.is_symlink():
            continue
        with suppress(OSError):  # another process removes it, too
            if folder.stat().st_uid == os.getuid() and not _lives(int(owner["pid"]), int(owner["born_ms"]) / 1000):
                shutil.rmtree(folder, ignore_errors=True)


def _process_numbers() -> str:
    """Where a pid of this process means something, also after the machine was started anew; 8 hex digits."""
    host, _boot, namespace = this_machine().rsplit("/", 2)
    return digest([host, namespace])[:8]


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
    return lease.machine == this_machine() and not _lives(lease.pid, lease.born_s)


def _lives(pid: int, born_s: float) -> bool:
    try:
        process = psutil.Process(pid)
        # a pid is used again after a while: the time of birth tells
        return abs(process.create_time() - born_s) < 1.0 and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def _owner_lives(folder: Path) -> bool:
    try:
        owner = json.loads((folder / OWNER).read_text())
        return _lives(int(owner["pid"]), float(owner["started_s"]))
    except (OSError, ValueError, KeyError):
        return False
