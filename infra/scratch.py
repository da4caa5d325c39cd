"""The working directory of a run on this machine, and whether the process that owns it still lives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import psutil

OWNER = "owner.json"


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


def _owner_lives(folder: Path) -> bool:
    try:
        owner = json.loads((folder / OWNER).read_text())
        process = psutil.Process(int(owner["pid"]))
        # a pid is used again after a while: the time of birth tells
        return abs(process.create_time() - float(owner["started_s"])) < 1.0 and process.status() != "zombie"
    except (OSError, ValueError, KeyError, psutil.NoSuchProcess):
        return False
