"""Temporary folders that nobody has to remember: whoever is killed removes nothing, so each says whose it is, and what
the stack's services leave lies in one folder per service below the home, which is emptied before the next one starts.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
from mlratchet.infra.machine.processes import marked_processes
from mlratchet.infra.machine.scratch import lives, this_machine
from mlratchet.infra.settings import temporary_root
from mlratchet.models.identity.canonical import digest
from mlratchet.models.ports.temporary import name_folders_by

WORKPLACE_S = 30.0  # seconds after which a run works in the folder that was made for it
SHARED_MEMORY, SEMAPHORE = Path("/dev/shm"), "sem."  # noqa: S108 - where glibc keeps semaphores, and under which names
OWNED = re.compile(r"^ratchet-[a-z]+-(?P<pid>\d+)-(?P<born_ms>\d+)-(?P<where>[0-9a-f]{8})-")


def temporary_folder(purpose: str) -> tempfile.TemporaryDirectory[str]:
    """Of this process, in its name: `remove_abandoned_folders` knows whose it was.

    `purpose`: lower-case letters.
    """
    return tempfile.TemporaryDirectory(
        prefix=f"{_name_of_this_process(purpose)}-", dir=temporary_root(), ignore_cleanup_errors=True
    )


def name_folders() -> None:
    """From now on every temporary folder for much that this process makes is in its name."""
    name_folders_by(lambda purpose: f"{_name_of_this_process(purpose)}-")


def name_semaphores() -> None:
    """From now on the semaphores of `multiprocessing` that this process and its children make say that they are this
    process's. They are files, too; who removes them, Python's resource tracker, is killed with the session."""
    multiprocessing.current_process()._config["semprefix"] = f"/{_name_of_this_process('sem')}"  # type: ignore[attr-defined]


def remove_abandoned_folders(home: Path | None = None) -> None:
    """Temporary folders of this user's whose process has ended, and semaphores. `home`: of a stack, whose services have
    temporary folders of their own."""
    services = _entries(home / "tmp", "*") if home is not None else []
    for place in {temporary_root(), Path(tempfile.gettempdir()), *services}:
        for folder in _entries(place, "ratchet-*"):
            with suppress(OSError):  # another process removes it, too
                if is_abandoned(folder.name) and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
    remove_abandoned_semaphores()


def _entries(folder: Path, pattern: str) -> list[Path]:
    try:
        return list(folder.glob(pattern))
    except OSError:  # it goes while one looks
        return []


def remove_abandoned_semaphores() -> None:
    """Of this user's processes that have ended."""
    for file in SHARED_MEMORY.glob(f"{SEMAPHORE}ratchet-*"):
        with suppress(OSError):
            if is_abandoned(file.name.removeprefix(SEMAPHORE)) and file.lstat().st_uid == os.getuid():
                file.unlink()


def is_abandoned(name: str) -> bool:
    """Whether the process that the name says has ended; of another machine's that is not known: False."""
    owner = OWNED.match(name)
    if owner is None or owner["where"] != _process_numbers():
        return False
    return not lives(int(owner["pid"]), int(owner["born_ms"]) / 1000)


def _name_of_this_process(purpose: str) -> str:
    me = psutil.Process()
    return f"ratchet-{purpose}-{me.pid}-{round(me.create_time() * 1000)}-{_process_numbers()}"


def _process_numbers() -> str:
    """Where a pid of this process means something, also after the machine was started anew; 8 hex digits."""
    host, _boot, namespace = this_machine().rsplit("/", 2)
    return digest([host, namespace])[:8]


def service_folder(home: Path, service: str) -> Path:
    """`HOME/tmp/<service>`: the TMPDIR of a service of the stack, without what one before it left. A run that outlived
    its worker keeps the folder as it is.

    Raises ``OSError`` where there is no room for a folder.
    """
    folder = home / "tmp" / service
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not marked_processes("TMPDIR", str(folder)):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
    return folder


def remove_abandoned_workplaces(home: Path, *, age_s: float = WORKPLACE_S) -> None:
    """Folders that a killed worker had made for runs to work in, which outlived it. `age_s`: a younger one may be about
    to be worked in."""
    used = working_directories()
    for folder in (home / "tmp" / "worker").glob("tmp*prefect"):
        with suppress(OSError):  # its worker removes it, too
            if time.time() - folder.stat().st_mtime >= age_s and not any(folder in (at, *at.parents) for at in used):
                shutil.rmtree(folder, ignore_errors=True)


def working_directories() -> list[Path]:
    """Where processes of this machine work, as far as this one may know."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found.append(Path(process.cwd()))
    return found


def remove_service_folders(home: Path) -> None:
    """When the stack has ended."""
    shutil.rmtree(home / "tmp", ignore_errors=True)
