"""Temporary folders for what may be much. Who starts a process says what their names begin with, so that whoever cleans
up can tell whose they were: a process that is killed removes nothing, and may leave gigabytes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path


def _plain(purpose: str) -> str:
    return f"ratchet-{purpose}-"


_begun: list[Callable[[str], str]] = [_plain]


def name_folders_by(begin: Callable[[str], str]) -> None:
    """From now on. `begin`: purpose -> what the name of its folder begins with."""
    _begun[:] = [begin]


def folder_for(purpose: str, *, below: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """Below `below`, or where temporary files of this process are. `purpose`: lower-case letters."""
    return tempfile.TemporaryDirectory(prefix=_begun[0](purpose), dir=below, ignore_cleanup_errors=True)
